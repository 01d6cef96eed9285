-- Creates the candle table of one instrument and attaches it to klines
-- Attaching takes SHARE UPDATE EXCLUSIVE on klines, so readers and writers go on; creating a
-- partition in place would lock them out. The check spares the attach its scan. Runs once a table.

create table :"hot" (
  like klines including all,
  constraint one_instrument check (instrument_id = :'instrument_id'::int)
);

alter table klines attach partition :"hot" for values in (:'instrument_id');
