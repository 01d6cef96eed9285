-- One series, a row for each UTC day: how many candles, and how many need checking
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
  (extract(epoch from d.day) * 1000)::float8 as "dayMs",
  count(*)::int as "rows",
  count(*) filter (where tier = 'archive')::int as "archivedRows",
  count(*) filter (where trades_count = 0 and volume = 0 and high_price = low_price)::int as "flatRows",
  count(*) filter (where not is_sound(:'interval', :candle_columns))::int as "oddRows",
  min(low_price)::float8 as "lowestPrice",
  max(high_price)::float8 as "highestPrice"
from stored_candles(:'instrument_id', :'interval', :'from_time', :'to_time')
join days d on d.day = date_bin('24 hours', open_time, timestamptz '1970-01-01 00:00Z')
group by d.day;
