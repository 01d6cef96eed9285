-- The table to copy candles from: its kind, and its columns with their types
-- Locks nothing. Can be run again. `name` is as a person writes it in SQL, or exactly the table's name.

with source as (
  select c.oid, c.relkind, n.nspname, c.relname
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.oid = coalesce(
    case when :'name' ~ '^([a-zA-Z_][a-zA-Z0-9_$]*|"[^"]+")([.]([a-zA-Z_][a-zA-Z0-9_$]*|"[^"]+")){0,1}$'
      then to_regclass(:'name')
    end,
    to_regclass(format('%I', :'name'::text))
  )
)
select
  s.nspname as schema, s.relname as name, format('%I.%I', s.nspname, s.relname) as quoted,
  s.relkind in ('r', 'p', 'f', 'v', 'm') as is_readable,
  exists (
    select from pg_inherits i
    where i.inhrelid = s.oid and i.inhparent in ('klines'::regclass, 'klines_archive'::regclass)
  )
  or s.oid in ('klines'::regclass, 'klines_archive'::regclass, 'all_klines'::regclass) as is_ours,
  (
    select jsonb_object_agg(a.attname, format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), null))
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    where a.attrelid = s.oid and a.attnum > 0 and not a.attisdropped
  ) as columns
from source s;
