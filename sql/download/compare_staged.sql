-- Which stored candles of a range the staged answer lacks
-- Locks nothing. Can be run again. What is archived is not replaced, so it is not compared.

select
  count(*)::int as stored_rows,
  count(*) filter (where s.open_time is null)::int as lacking_rows,
  min(k.open_time) filter (where s.open_time is null) as first_lacking_time
from klines k
left join (select distinct open_time from staged_klines) as s on s.open_time = k.open_time
where k.instrument_id = :'instrument_id'::int
  and k.interval = :'interval'
  and k.open_time >= :'from_time'
  and k.open_time < :'to_time';
