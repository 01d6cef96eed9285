-- The partition that holds one instrument, whatever its name
-- Locks nothing. Can be run again. `parent` is klines or klines_archive.

select c.oid::regclass::text as name
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
where i.inhparent = :'parent'::regclass
  and pg_get_expr(c.relpartbound, 0) = format('FOR VALUES IN (%s)', :'instrument_id'::int);
