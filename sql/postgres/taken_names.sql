-- Names that schema files are to create and that are already in use, in the schema where new tables are created
-- Locks nothing. Can be run again.

with place as (
  select oid from pg_namespace where nspname = current_schema()
)
select
  case c.relkind
    when 'r' then 'table' when 'p' then 'partitioned table' when 'f' then 'foreign table' when 'v' then 'view'
    when 'm' then 'materialized view' when 'S' then 'sequence' when 'c' then 'type' else 'index'
  end as kind,
  c.relname as name
from pg_class c
join place on place.oid = c.relnamespace
where c.relname = any (string_to_array(:'relations', ','))
union all
select 'type', t.typname
from pg_type t
join place on place.oid = t.typnamespace
where t.typname = any (string_to_array(:'relations', ','))
  and t.typrelid = 0
  and t.typcategory <> 'A'
union all
select 'function', format('%s(%s)', p.proname, pg_get_function_identity_arguments(p.oid))
from pg_proc p
join place on place.oid = p.pronamespace
where p.proname = any (string_to_array(:'functions', ','))
order by name;
