-- Intervals of one instrument that Binance does not have
-- Locks nothing. Can be run again. Hops from one interval to the next in the index, however many
-- candles each has.

with recursive hops (tier, interval) as (
  (
    select 'klines', min(interval) from klines where instrument_id = :'instrument_id'::int
    union all
    select 'klines_archive', min(interval) from klines_archive where instrument_id = :'instrument_id'::int
  )
  union all
  select
    h.tier,
    case h.tier
      when 'klines'
        then (select min(k.interval) from klines k where k.instrument_id = :'instrument_id'::int and k.interval > h.interval)
      else (select min(k.interval) from klines_archive k where k.instrument_id = :'instrument_id'::int and k.interval > h.interval)
    end
  from hops h
  where h.interval is not null
)
select
  tier, interval,
  case tier
    when 'klines'
      then (select min(k.open_time) from klines k where k.instrument_id = :'instrument_id'::int and k.interval = h.interval)
    else (select min(k.open_time) from klines_archive k where k.instrument_id = :'instrument_id'::int and k.interval = h.interval)
  end as first_time
from hops h
where interval is not null
  and interval <> all (string_to_array(:'intervals', ','))
order by tier, interval;
