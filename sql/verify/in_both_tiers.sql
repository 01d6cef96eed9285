-- Candles of one series that both tiers hold, on the days on which both hold some
-- Locks nothing. Can be run again. The limit keeps the planner to one look into the index a candle, also without
-- statistics.

select
  'in-both-tiers' as check_name,
  hot.open_time,
  case when (:hot_values) is not distinct from (:archived_values) then 'identical' else 'with different values' end as detail,
  null::bigint as row_hash
from candles_on_days(:'instrument_id', :'interval', :'days', :'from_time', :'to_time') as hot
cross join lateral (
  select *
  from klines_archive
  where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = hot.open_time
  limit 1
) as archived
where hot.tier = 'hot'
