-- Removes the rows that moves deleted from a table's files, and updates its statistics
-- Takes SHARE UPDATE EXCLUSIVE on it: readers and writers go on. Can be run again.
-- Skips a table that another session is vacuuming or altering. Empty pages at the end are kept for new candles:
-- to truncate them would lock readers out.

vacuum (analyze, skip_locked, truncate false) :"table";
