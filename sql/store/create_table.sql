-- Creates the candle table of one instrument and attaches it to klines
-- Attaching takes SHARE UPDATE EXCLUSIVE on klines, so readers and writers go on; creating a
-- partition in place would lock them out. It is empty yet, so the attach has nothing to scan. Runs
-- once a table.

create table :"hot" (like klines including all);

alter table klines attach partition :"hot" for values in (:'instrument_id');

select inherit_access('klines', format('%I', :'hot'::text)::regclass);
