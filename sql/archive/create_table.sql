-- Creates the archive table of one instrument in the shape of its candle table, and attaches it
-- Attaching takes SHARE UPDATE EXCLUSIVE on klines_archive, so readers and writers go on.
-- Runs once a table. LIKE copies no storage parameters, grants or triggers.

create table :"archive" (like :"hot" including all);

alter table klines_archive attach partition :"archive" for values in (:'instrument_id');
