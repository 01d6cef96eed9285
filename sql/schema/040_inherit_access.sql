-- inherit_access: gives a new partition the owner and the grants of the table that it belongs to
-- Locks nothing that exists. Runs once. Without it a role that may read klines, and asks PostgreSQL for one
-- instrument's table, would be refused as soon as a symbol is added.

create function inherit_access(parent regclass, child regclass) returns void
language plpgsql
as $$
declare
  owner name;
  target text;
  given record;
begin
  select format('%I.%I', n.nspname, c.relname) into target
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.oid = child;

  -- Another member of the owning role, or a superuser, may be at work.
  select pg_get_userbyid(p.relowner) into owner
  from pg_class p
  join pg_class c on c.oid = child and c.relowner <> p.relowner
  where p.oid = parent;
  if owner is not null then
    begin
      execute format('alter table %s owner to %I', target, owner);
    exception when insufficient_privilege then
      -- The owner may not create tables in this schema: then the creator keeps the table.
      null;
    end;
  end if;

  for given in
    select a.grantee, a.privilege_type, a.is_grantable, '' as columns
    from pg_class p
    cross join aclexplode(p.relacl) as a
    where p.oid = parent and a.grantee <> p.relowner
    union all
    select a.grantee, a.privilege_type, a.is_grantable, format(' (%I)', t.attname)
    from pg_attribute t
    join pg_class p on p.oid = t.attrelid
    cross join aclexplode(t.attacl) as a
    where t.attrelid = parent and not t.attisdropped and a.grantee <> p.relowner
  loop
    execute format(
      'grant %s%s on table %s to %s%s',
      given.privilege_type, given.columns, target,
      case given.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(given.grantee)) end,
      case when given.is_grantable then ' with grant option' else '' end
    );
  end loop;
end $$;

comment on function inherit_access is 'called when a candle table or an archive table is made';
