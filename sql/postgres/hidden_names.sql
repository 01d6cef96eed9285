-- Tables and functions that hide klinekeep's, because their schema comes first on search_path
-- Locks nothing. Can be run again.

with earlier as (
  select n.oid, n.nspname
  from unnest(current_schemas(false)) with ordinality as p (schema, place)
  join pg_namespace n on n.nspname = p.schema
  where p.place < array_position(current_schemas(false), :'home'::name)
)
select format('%I.%I', e.nspname, c.relname) as name
from pg_class c
join earlier e on e.oid = c.relnamespace
where c.relname = any (string_to_array(:'relations', ','))
union all
select format('%I.%I', e.nspname, p.proname)
from pg_proc p
join earlier e on e.oid = p.pronamespace
where p.proname = any (string_to_array(:'functions', ','))
order by name;
