-- Removes what the moves left behind in a table, and refreshes its statistics
-- Takes SHARE UPDATE EXCLUSIVE on it: readers and writers go on. Can be run again.
-- A table that somebody else vacuums or alters at the moment is left to them. Empty pages at the end
-- are kept for new candles: to give them back would lock readers out.

vacuum (analyze, skip_locked, truncate false) :"table";
