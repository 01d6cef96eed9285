-- Candles of one series that both tiers hold, on the days on which both hold some
-- Locks nothing. Can be run again. The first ones are listed, all of them counted. The limit keeps the
-- planner to one look into the index a candle, also without statistics.

with duplicates as (
  select hot.open_time, (:hot_values) is not distinct from (:archived_values) as is_same
  from candles_on_days(:'instrument_id', :'interval', :'days', :'from_time', :'to_time') as hot
  cross join lateral (
    select *
    from klines_archive
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = hot.open_time
    limit 1
  ) as archived
  where hot.tier = 'hot'
)
select open_time, is_same, count(*) over ()::int as found
from duplicates
order by open_time
limit :'shown'::int;
