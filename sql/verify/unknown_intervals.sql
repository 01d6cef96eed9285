-- Intervals of one instrument that Binance does not have
-- Locks nothing. Can be run again. Goes from one interval to the next in the index, however many candles each
-- has; only the candles of unknown intervals are read.

with recursive stored (interval) as (
  select min(interval)
  from both_tiers
  where instrument_id = :'instrument_id'::int
  union all
  select (
    select min(k.interval)
    from both_tiers k
    where k.instrument_id = :'instrument_id'::int and k.interval > s.interval
  )
  from stored s
  where s.interval is not null
)
select
  case k.tier when 'hot' then 'klines' else 'klines_archive' end as tier,
  s.interval,
  min(k.open_time) as first_time
from stored s
cross join lateral (
  select tier, open_time
  from both_tiers
  where instrument_id = :'instrument_id'::int and interval = s.interval
) as k
where s.interval <> all (string_to_array(:'intervals', ','))
group by k.tier, s.interval
order by 1, 2;
