-- The days of one series, looked at in a few moments each: in how many of them a candle is there
-- Locks nothing. Can be run again. One index lookup per moment and tier, however long the series is.

select
  day.open_time as day,
  count(*) filter (where is_hot or is_archived)::int as found,
  count(*) filter (where is_archived)::int as archived
from generate_series(
  :'from_time'::timestamptz,
  :'to_time'::timestamptz - interval '1 millisecond',
  interval '24 hours'
) as day (open_time)
cross join generate_series(0, :'moments'::int - 1) as moment (number)
cross join lateral (
  select
    exists (
      select from klines
      where instrument_id = :'instrument_id'::int
        and interval = :'interval'
        and open_time >= day.open_time + moment.number * :'apart'::interval
        and open_time < day.open_time + moment.number * :'apart'::interval + :'step'::interval
    ) as is_hot,
    exists (
      select from klines_archive
      where instrument_id = :'instrument_id'::int
        and interval = :'interval'
        and open_time >= day.open_time + moment.number * :'apart'::interval
        and open_time < day.open_time + moment.number * :'apart'::interval + :'step'::interval
    ) as is_archived
) as looked
group by day.open_time;
