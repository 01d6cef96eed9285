-- How many stored candles of a range are missing from the staged answer, and the first of them
-- Locks nothing. Can be run again. Archived candles are never replaced, so they are not compared.

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
