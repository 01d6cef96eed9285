-- Neighbours of one series that lie more than a step apart, both tiers together
-- Locks nothing. Can be run again. The range's own ends count as neighbours, so that candles missing at
-- its edges, or all of them, show too.

with neighbours as (
  select :'before_time'::timestamptz as open_time
  union all
  select open_time
  from stored_candles(:'instrument_id', :'interval', :'from_time', :'to_time')
  union all
  select :'to_time'::timestamptz
),
pairs as (
  select open_time, lead(open_time) over (order by open_time) as next_time
  from neighbours
)
select open_time, next_time
from pairs
where next_time > open_time + :'max_step'::interval
order by open_time;
