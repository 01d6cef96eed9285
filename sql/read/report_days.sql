-- The days of one series: slots of the grid with a candle, archived candles, and prices
-- Locks nothing. Can be run again. Reads every candle of the range. The prices are for a chart, so not exact.
-- A candle that is longer than a day counts for each of its days.

select (extract(epoch from day.start) * 1000)::float8 as "dayMs", stored.*
from generate_series(
  :'from_time'::timestamptz,
  :'to_time'::timestamptz - interval '1 millisecond',
  interval '24 hours'
) as day (start)
cross join lateral (
  select
    count(distinct slot_of(:'interval', open_time))::int as found,
    count(*) filter (where tier = 'archive')::int as archived,
    (array_agg(open_price order by open_time))[1]::float8 as open,
    max(high_price)::float8 as high,
    min(low_price)::float8 as low,
    (array_agg(close_price order by open_time))[count(*)]::float8 as close
  from stored_candles(
    :'instrument_id', :'interval',
    slot_of(:'interval', day.start),
    greatest(next_slot(:'interval', slot_of(:'interval', day.start)), day.start + interval '24 hours')
  )
) as stored
where stored.found > 0;
