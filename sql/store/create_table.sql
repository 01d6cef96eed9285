-- Creates the candle table of one instrument and attaches it to klines
-- Attaching takes SHARE UPDATE EXCLUSIVE on klines: readers and writers go on. Creating a partition in place would
-- lock them out. The table is empty, so there is nothing to scan. Runs once a table.

create table :"hot" (like klines including all);

alter table klines attach partition :"hot" for values in (:'instrument_id');

select inherit_access('klines', format('%I', :'hot'::text)::regclass);
