-- Finds out why a schema of search_path is not used: it is missing, or the role may not use it
-- Locks nothing. Can be run again.

select
  exists (select from pg_namespace where nspname = :'schema') as there,
  format('%I', :'schema'::text) as quoted,
  format('%I', current_user) as role;
