-- Candles of one series that both tiers hold, on the days on which both hold some
-- Locks nothing. Can be run again. The first ones are listed, all of them counted. The offset keeps the
-- planner to one look into the index a day, the limit to one a candle, also without statistics.

with days as (
  select to_timestamp(v::float8 / 1000) as day
  from unnest(string_to_array(:'days', ',')) as v
),
duplicates as (
  select hot.open_time, (:hot_values) is not distinct from (:archived_values) as is_same
  from days d
  cross join lateral (
    select *
    from klines
    where instrument_id = :'instrument_id'::int
      and interval = :'interval'
      and open_time >= greatest(d.day, :'from_time')
      and open_time < least(d.day + interval '24 hours', :'to_time')
    offset 0
  ) as hot
  cross join lateral (
    select *
    from klines_archive
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = hot.open_time
    limit 1
  ) as archived
)
select open_time, is_same, count(*) over ()::int as found
from duplicates
order by open_time
limit :'shown'::int;
