-- Random candles of one series, both tiers: their open times
-- Locks nothing. Can be run again. Takes random moments, and for each the candle that was open then: a few
-- index entries, however many candles are stored.

with moments as materialized (
  select :'from_time'::timestamptz + random() * (:'to_time'::timestamptz - :'from_time'::timestamptz) as moment
  from generate_series(1, :'picks'::int)
)
select distinct p.open_time
from moments m
cross join lateral (
  select open_time
  from both_tiers
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time <= m.moment
  order by open_time desc
  limit 1
) as p
order by p.open_time;
