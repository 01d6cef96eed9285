-- Removes what the moves left behind in both tables, and refreshes their statistics
-- Takes SHARE UPDATE EXCLUSIVE on one after the other: readers and writers go on. Can be run again.
-- A table that somebody else vacuums or alters at the moment is left to them.

vacuum (analyze, skip_locked) :tables;
