-- One tier of one series, a row for each UTC day: how many candles, and how many want a look
-- Locks nothing. Can be run again. The one pass over all candles: what it does not count is sound.
-- Without the join the planner takes each candle for a day of its own, and sorts them all on disk;
-- with it the days fit into memory and the scan is a parallel one.

with days as (
  select generate_series(
    date_bin('24 hours', :'from_time'::timestamptz, timestamptz '1970-01-01 00:00Z'),
    :'to_time'::timestamptz,
    interval '24 hours'
  ) as day
)
select
  d.day,
  count(*)::int as stored_rows,
  count(*) filter (where trades_count = 0 and volume = 0 and high_price = low_price)::int as flat_rows,
  count(*) filter (
    where not (
      open_time = slot_of(:'interval', open_time)
      and close_time = next_slot(:'interval', open_time) - interval '1 millisecond'
      and low_price > 0
      and low_price <= open_price
      and low_price <= close_price
      and high_price >= open_price
      and high_price >= close_price
      and high_price < 'NaN'
      and taker_buy_volume >= 0
      and taker_buy_volume <= volume
      and volume < 'NaN'
      and taker_buy_quote_volume >= 0
      and taker_buy_quote_volume <= quote_volume
      and quote_volume < 'NaN'
      and (trades_count = 0 or (trades_count > 0 and volume > 0))
    )
  )::int as odd_rows,
  min(low_price)::float8 as lowest_price,
  max(high_price)::float8 as highest_price
from :"tier"
join days d on d.day = date_bin('24 hours', open_time, timestamptz '1970-01-01 00:00Z')
where instrument_id = :'instrument_id'::int
  and interval = :'interval'
  and open_time >= :'from_time'
  and open_time < :'to_time'
group by d.day;
