-- What is due for the archive: the candles of one instrument that open before the cutoff
-- Locks nothing. Can be run again. Bytes are those of the rows, without indexes.

select
  interval,
  count(*)::float8 as due_rows,
  sum(pg_column_size(k.*))::float8 as due_bytes,
  min(open_time) as first_time,
  max(open_time) as last_time
from klines k
where instrument_id = :'instrument_id'::int
  and interval = any (string_to_array(:'intervals', ','))
  and open_time < :'cutoff'
group by interval
order by due_rows desc;
