-- The columns of a table in order, each with an expression that hashes it
-- Locks nothing. Can be run again.
--
-- A hash is the same on every version of PostgreSQL, with all settings and collations, and after a dump and
-- restore. It comes from the type's own hash function. Before version 17 SQL cannot call some of these functions
-- with their type (timestamptz, boolean, date, bytea, …): there hash_record_extended calls them, in twice the
-- time, and returns the same number. A type without one is hashed as text, and so are types whose hash contains
-- an oid (enums) or depends on a locale (citext). An oid below 16384 belongs to PostgreSQL itself.

with recursive underlying as (
  select attnum, atttypid as type_id
  from pg_attribute
  where attrelid = format('%I', :'table'::text)::regclass
    and attnum > 0
    and not attisdropped
  union all
  -- A domain is hashed like the type below it.
  select u.attnum, t.typbasetype
  from underlying u
  join pg_type t on t.oid = u.type_id
  where t.typtype = 'd'
)
select
  a.attname as name,
  format(
    case when a.attnotnull then '%s' else 'coalesce(%s, 0)' end,
    format(
      case
        when p.proargtypes[0] = u.type_id then '%2$s(%1$s, %3$s)'
        when p.oid is not null or t.oid < 16384 and t.typtype in ('r', 'm') then 'hash_record_extended(row(%1$s), %3$s)'
        else 'hashtextextended(%4$s, %3$s)'
      end,
      format(case when a.attcollation = 0 then '%I' else '%I collate "C"' end, a.attname),
      p.oid::regproc,
      row_number() over (order by a.attnum),
      format('%I::text collate "C"', a.attname)
    )
  ) as hash
from pg_attribute a
join underlying u using (attnum)
join pg_type t on t.oid = u.type_id and t.typtype <> 'd'
left join pg_type element on element.typarray = t.oid
left join pg_opclass o
  on o.opcintype = coalesce(element.oid, t.oid)
  and o.opcintype < 16384
  and o.opcdefault
  and o.opcmethod = (select oid from pg_am where amname = 'hash')
left join pg_amproc m
  on m.amprocfamily = o.opcfamily
  and m.amproclefttype = o.opcintype
  and m.amprocrighttype = o.opcintype
  and m.amprocnum = 2
left join pg_proc p on p.oid = m.amproc
where a.attrelid = format('%I', :'table'::text)::regclass
order by a.attnum;
