-- What the name of a candle table or an archive table refers to
-- Locks nothing. Can be run again. Reads the catalogue itself, since to_regclass may return what this session
-- cached earlier. `parent` is klines or klines_archive.

with home as (
  select p.oid, p.relnamespace, n.nspname
  from pg_class p
  join pg_namespace n on n.oid = p.relnamespace
  where p.oid = :'parent'::regclass
),
found as (
  select
    c.oid, c.relkind, n.nspname,
    i.inhparent,
    pg_get_expr(c.relpartbound, 0) as bound,
    array_position(current_schemas(true), n.nspname) as place
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_inherits i on i.inhrelid = c.oid and c.relispartition
  where c.relname = :'name'
    and n.nspname = any (current_schemas(true))
  order by place
  limit 1
)
select
  home.nspname as home,
  home.nspname is distinct from current_schema() as is_elsewhere,
  found.nspname as schema,
  case found.relkind
    when 'r' then 'table' when 'p' then 'partitioned table' when 'f' then 'foreign table' when 'v' then 'view'
    when 'm' then 'materialized view' when 'S' then 'sequence' when 'c' then 'type' else 'index'
  end as kind,
  found.place > array_position(current_schemas(true), home.nspname) as comes_later,
  found.inhparent is not distinct from home.oid as is_partition,
  found.bound = format('FOR VALUES IN (%s)', :'instrument_id'::int) as holds_instrument,
  found.bound,
  found.inhparent::regclass::text as parent,
  not exists (
    select attname from pg_attribute where attrelid = home.oid and attnum > 0 and not attisdropped
    except
    select attname from pg_attribute where attrelid = found.oid and attnum > 0 and not attisdropped
  ) as has_shape,
  -- In the same snapshot: another session may be creating the table.
  (
    select p.oid::regclass::text
    from pg_inherits h
    join pg_class p on p.oid = h.inhrelid
    where h.inhparent = home.oid
      and pg_get_expr(p.relpartbound, 0) = format('FOR VALUES IN (%s)', :'instrument_id'::int)
  ) as partition,
  exists (
    select from pg_type t
    where t.typname = :'name' and t.typnamespace = home.relnamespace and t.typrelid = 0 and t.typcategory <> 'A'
  ) as is_type
from home
left join found on true;
