-- Candles of one series that both tiers hold, on the days on which both hold some
-- Locks nothing. Can be run again. The first ones are listed, all of them counted. The limit keeps
-- the planner to one look into the index a candle, also without statistics.
-- Each offset keeps the planner to one look into the index a day.

with days as (
  select to_timestamp(v::float8 / 1000) as day
  from unnest(string_to_array(:'days', ',')) as v
),
twice as (
  select
    h.open_time,
    (
      h.close_time, h.open_price, h.high_price, h.low_price, h.close_price,
      h.volume, h.quote_volume, h.trades_count, h.taker_buy_volume, h.taker_buy_quote_volume
    ) is not distinct from (
      a.close_time, a.open_price, a.high_price, a.low_price, a.close_price,
      a.volume, a.quote_volume, a.trades_count, a.taker_buy_volume, a.taker_buy_quote_volume
    ) as is_same
  from days d
  cross join lateral (
    select *
    from klines
    where instrument_id = :'instrument_id'::int
      and interval = :'interval'
      and open_time >= greatest(d.day, :'from_time')
      and open_time < least(d.day + interval '24 hours', :'to_time')
    offset 0
  ) as h
  cross join lateral (
    select *
    from klines_archive
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = h.open_time
    limit 1
  ) as a
)
select open_time, is_same, count(*) over ()::int as found
from twice
order by open_time
limit :'shown'::int;
