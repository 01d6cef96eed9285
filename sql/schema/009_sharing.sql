-- inherit_access and lock_class: so that several roles share the tables, and several klinekeeps a database
-- Locks nothing that exists. Runs once.

-- Gives a new partition the owner and the grants of its parent. Without it a role that may read klines, and
-- reads one instrument's table by its name, would be refused as soon as a symbol is added.
create function inherit_access(parent regclass, child regclass) returns void
language plpgsql
as $$
declare
  owner name;
  given record;
begin
  -- The table may have been created by another member of the owning role, or by a superuser.
  select pg_get_userbyid(p.relowner) into owner
  from pg_class p
  join pg_class c on c.oid = child and c.relowner <> p.relowner
  where p.oid = parent;
  if owner is not null then
    begin
      execute format('alter table %s owner to %I', child, owner);
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
      given.privilege_type, given.columns, child,
      case given.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(given.grantee)) end,
      case when given.is_grantable then ' with grant option' else '' end
    );
  end loop;
end $$;

comment on function inherit_access is 'gives a new candle table the owner and the grants of its parent; called when the table is created';

-- Advisory locks belong to the database: without this, two klinekeeps in schemas of one database, which
-- number their instruments alike, would wait for each other.
create function lock_class(kind int) returns int
language sql stable parallel safe
return kind # hashoid('klines'::regclass::oid);

comment on function lock_class is
  'the first key of the advisory locks of this installation. kind: 27500 instruments, 27501 helpers, 27502 tables being created (lib/store/locks.ts)';
