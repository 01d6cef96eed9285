-- Privileges that this role is missing on the objects named in an error message from PostgreSQL
-- Locks nothing. Can be run again. `words` is the message without its quotes; a name in it counts as a word.

with said as (
  select distinct word from regexp_split_to_table(:'words', '\s+') as word where word <> ''
),
objects as (
  select 'table' as kind, c.oid::regclass::text as name, c.relowner as owner, (
    -- A role that cannot read yet is offered SELECT only.
    select case when not has_table_privilege(c.oid, 'select') then 'select' else string_agg(p, ', ' order by n) end
    from unnest('{insert,update,delete}'::text[]) with ordinality as wanted (p, n)
    where not has_table_privilege(c.oid, p)
  ) as privileges
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join said on said.word = c.relname
  where c.relkind in ('r', 'p', 'v') and n.nspname = any (current_schemas(false))
  union all
  select 'schema', n.nspname, n.nspowner, (
    select string_agg(p, ', ' order by p) from unnest('{create,usage}'::text[]) as p
    where not has_schema_privilege(n.oid, p)
  )
  from pg_namespace n
  join said on said.word = n.nspname
  where n.nspname not like 'pg\_%'
  union all
  select 'database', d.datname, d.datdba, 'temporary'
  from pg_database d
  join said on said.word = d.datname
  where d.datname = current_database() and not has_database_privilege(d.oid, 'temporary')
)
select kind, name, pg_get_userbyid(owner) as owner, privileges
from objects
order by kind desc, name;
