-- The candle tables of each tier with their bytes, indexes included
-- Locks nothing. Can be run again. Bytes are as of the last VACUUM or ANALYZE; a table that has seen
-- neither is measured, which takes a look at its files.

with tables as (
  select inhrelid as table_id
  from pg_inherits
  where inhparent in ('klines'::regclass, 'klines_archive'::regclass)
),
files as (
  select table_id, table_id as file_id
  from tables
  union all
  select table_id, x.indexrelid
  from tables
  join pg_index x on x.indrelid = table_id
),
sizes as (
  select
    table_id,
    sum(
      case when c.relpages > 0
        then c.relpages * current_setting('block_size')::float8
        else pg_relation_size(c.oid)
      end
    ) as bytes
  from files
  join pg_class c on c.oid = file_id
  group by table_id
)
select c.relname as table_name, bytes
from sizes
join pg_class c on c.oid = table_id;
