-- The stored series of one instrument: first and last candle in each tier
-- Locks nothing. Can be run again. Reads two index entries per interval and tier, however many candles are stored.
-- For many instruments at once, combine many of these with UNION ALL: PostgreSQL plans a query of their own tables in
-- half the time of one of klines. `hot` and `archive` are tables, or whatever else shows the candles of that tier to
-- a role that may not read the tables.

select :'instrument_id'::int as instrument_id, ends.*
from (
  select
    v.interval,
    (
      select open_time from :hot
      where instrument_id = :'instrument_id'::int and interval = v.interval
      order by open_time limit 1
    ) as first_hot_time,
    (
      select open_time from :hot
      where instrument_id = :'instrument_id'::int and interval = v.interval
      order by open_time desc limit 1
    ) as last_hot_time,
    (
      select open_time from :archive
      where instrument_id = :'instrument_id'::int and interval = v.interval
      order by open_time limit 1
    ) as first_archived_time,
    (
      select open_time from :archive
      where instrument_id = :'instrument_id'::int and interval = v.interval
      order by open_time desc limit 1
    ) as last_archived_time
  from unnest(string_to_array(:'intervals', ',')) as v (interval)
  -- Otherwise the filter below is planned, and run, again for each of the four.
  offset 0
) as ends
where first_hot_time is not null or first_archived_time is not null
