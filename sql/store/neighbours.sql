-- The stored candles on both sides of spans without candles, in both tiers
-- Locks nothing. Can be run again. Reads one index entry for each side and tier. Spans before the first candle or
-- after the last have only one neighbour, and are left out.

select distinct before.open_time as before_time, after.open_time as after_time
from jsonb_to_recordset(:'spans'::jsonb) as span (from_time timestamptz, to_time timestamptz)
cross join lateral (
  select max(open_time) as open_time
  from both_tiers
  where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time < span.from_time
) as before
cross join lateral (
  select min(open_time) as open_time
  from both_tiers
  where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time >= span.to_time
) as after
where before.open_time is not null and after.open_time is not null
order by before_time;
