-- Creates the archive table of one instrument with the shape of its candle table, and attaches it
-- Attaching takes SHARE UPDATE EXCLUSIVE on klines_archive: readers and writers go on. The table is empty, so there
-- is nothing to scan. Runs once a table.
--
-- LIKE copies no storage parameters. These rows are written once and then only read:
-- - whole pages are filled (fillfactor), since nothing is updated;
-- - autovacuum counts inserts in rows, not in shares of a table that only grows: so the visibility map stays
--   current, and index-only scans stay possible;
-- - it freezes rows when it first sees them, or it would have to read the whole table again some day;
-- - statistics are updated after 2 % more rows, since queries read the newest of them.

create table :"archive" (like :"hot" including all) with (
  fillfactor = 100,
  autovacuum_freeze_min_age = 0,
  autovacuum_vacuum_insert_scale_factor = 0.0,
  autovacuum_vacuum_insert_threshold = 100000,
  autovacuum_analyze_scale_factor = 0.02
);

alter table klines_archive attach partition :"archive" for values in (:'instrument_id');

select inherit_access('klines_archive', format('%I', :'archive'::text)::regclass);
