-- Random candles of one series, both tiers: their open times
-- Locks nothing. Can be run again. A random moment each, and the candle it falls in: a few
-- index entries, whatever is stored.

with moments as materialized (
  select :'from_time'::timestamptz + random() * (:'to_time'::timestamptz - :'from_time'::timestamptz) as moment
  from generate_series(1, :'picks'::int)
)
select distinct p.open_time
from moments m
cross join lateral (
  (
    select open_time
    from klines
    where instrument_id = :'instrument_id'::int and interval = :'interval'
      and open_time >= :'from_time' and open_time <= m.moment
    order by open_time desc
    limit 1
  )
  union all
  (
    select open_time
    from klines_archive
    where instrument_id = :'instrument_id'::int and interval = :'interval'
      and open_time >= :'from_time' and open_time <= m.moment
    order by open_time desc
    limit 1
  )
  order by open_time desc
  limit 1
) as p
order by p.open_time;
