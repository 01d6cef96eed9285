-- The days of one series, sampled: at how many of a few moments of each day there is a candle
-- Locks nothing. Can be run again. One index lookup per moment and tier, however long the series is.

select
  (extract(epoch from day.open_time) * 1000)::float8 as "dayMs",
  count(*)::int as found,
  count(*) filter (where sample.tier = 'archive')::int as archived
from generate_series(
  :'from_time'::timestamptz,
  :'to_time'::timestamptz - interval '1 millisecond',
  interval '24 hours'
) as day (open_time)
cross join generate_series(0, :'moments'::int - 1) as number
cross join lateral (select day.open_time + number * :'apart'::interval as start) as moment
cross join lateral (
  select tier
  from stored_candles(:'instrument_id', :'interval', moment.start, moment.start + :'step'::interval)
  limit 1
) as sample
group by day.open_time;
