-- Where klinekeep's tables are, and what this role may do there
-- Locks nothing. Can be run again. The first schema on search_path that has our schema_files is home.

with path (schema, place) as (
  select p.schema, p.place
  from unnest(current_schemas(false)) with ordinality as p (schema, place)
),
homes as (
  select c.oid, c.relowner, n.oid as schema_id, n.nspname as schema, p.place
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join path p on p.schema = n.nspname
  where c.relname = 'schema_files'
    and c.relkind = 'r'
    and (
      select count(*) from pg_attribute a
      where a.attrelid = c.oid and not a.attisdropped and a.attname in ('name', 'sha256', 'applied_at')
    ) = 3
    and n.nspname not like 'pg\_%'
),
home as (
  select * from homes where place is not null order by place limit 1
)
select
  current_user as role,
  current_database() as database,
  current_setting('search_path') as "searchPath",
  current_schema() as "currentSchema",
  array_to_json(current_schemas(false)) as usable,
  pg_is_in_recovery() as "isStandby",
  current_setting('transaction_read_only') = 'on' as "isReadOnly",
  coalesce(has_schema_privilege(current_schema(), 'create'), false) as "mayCreate",
  home.schema,
  home.place > 1 as "hasEarlierSchemas",
  pg_get_userbyid(home.relowner) as owner,
  coalesce(pg_has_role(home.relowner, 'usage'), false) as "isOwner",
  coalesce(has_schema_privilege(home.schema_id, 'create'), false) as "mayExtend",
  coalesce(has_table_privilege(home.oid, 'select'), false) as "mayReadFiles",
  coalesce(has_table_privilege(to_regclass('klines'), 'insert'), false) as "mayWriteCandles",
  coalesce(has_table_privilege(to_regclass('runs'), 'insert'), false) as "mayWriteRuns",
  (select string_agg(schema, ', ' order by schema) from homes where place is null) as "otherHomes"
from (select) as one
left join home on true;
