-- Why a schema that search_path names is not used: it is not there, or the role may not use it
-- Locks nothing. Can be run again.

select
  exists (select from pg_namespace where nspname = :'schema') as there,
  format('%I', :'schema'::text) as quoted,
  format('%I', current_user) as role;
