-- How a candle table and its archive table differ: columns in order, types, NOT NULL, key
-- Locks nothing. Can be run again. No rows: they have the same shape.

with tables (side, relid) as (
  values
    ('hot', to_regclass(format('%I', :'hot'::text))),
    ('archive', to_regclass(format('%I', :'archive'::text)))
),
pieces as (
  select
    t.side,
    format('column %s', row_number() over (partition by t.side order by a.attnum)) as piece,
    format('%s %s%s', a.attname, format_type(a.atttypid, a.atttypmod), case when a.attnotnull then ' not null' end)
      as shape
  from tables t
  join pg_attribute a on a.attrelid = t.relid and a.attnum > 0 and not a.attisdropped
  union all
  select t.side, 'key', pg_get_constraintdef(c.oid)
  from tables t
  join pg_constraint c on c.conrelid = t.relid and c.contype = 'p'
)
select piece, hot.shape as hot_shape, archive.shape as archive_shape
from (select piece, shape from pieces where side = 'hot') as hot
full join (select piece, shape from pieces where side = 'archive') as archive using (piece)
where hot.shape is distinct from archive.shape
order by piece;
