-- One tier of one series, a row for each UTC day: how many candles, and how many need checking
-- Locks nothing. Can be run again. The one pass over all candles: those that it does not count are sound.
-- Without the join the planner expects a day for each candle, and sorts them all on disk; with it the
-- days fit into memory and the scan is a parallel one.

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
  count(*) filter (where not is_sound(:'interval', :candle_columns))::int as odd_rows,
  min(low_price)::float8 as lowest_price,
  max(high_price)::float8 as highest_price
from :"tier"
join days d on d.day = date_bin('24 hours', open_time, timestamptz '1970-01-01 00:00Z')
where instrument_id = :'instrument_id'::int
  and interval = :'interval'
  and open_time >= :'from_time'
  and open_time < :'to_time'
group by d.day;
