-- The candle tables of each tier, by instrument, with their bytes including indexes
-- Locks nothing. Can be run again. Bytes are as of the last VACUUM or ANALYZE; a table that had neither is measured
-- from its files. `is_readable`: this role may read it by its name.

with tables as (
  select
    i.inhrelid as table_id,
    case when i.inhparent = 'klines'::regclass then 'hot' else 'archive' end as tier,
    substring(pg_get_expr(c.relpartbound, 0) from '^FOR VALUES IN \((\d+)\)$')::int as instrument_id,
    pg_table_is_visible(c.oid) and has_table_privilege(c.oid, 'select') as is_readable,
    c.relname as table_name
  from pg_inherits i
  join pg_class c on c.oid = i.inhrelid
  where i.inhparent in ('klines'::regclass, 'klines_archive'::regclass)
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
select t.tier, t.instrument_id, t.table_name, t.is_readable, s.bytes
from tables t
join sizes s using (table_id)
where t.instrument_id is not null;
