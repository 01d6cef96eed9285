-- The latest decisions about candles that changed, or for which sources differed
-- Locks nothing. Can be run again. An empty list of instruments means all, an empty interval any.

select
  r.id::text as id,
  r.repaired_at as "repairedAt",
  i.market, i.symbol, r.interval, r.tier,
  r.open_time as "openTime",
  r.was, r.was_source as "wasSource", r.offered, r.source, r.became, r.decided_by as "decidedBy",
  differing_values(coalesce(r.was, r.became), coalesce(r.offered, r.became)) as differing,
  count(*) over ()::float8 as total
from repairs r
join instruments i on i.id = r.instrument_id
where (:'instrument_ids' = '' or r.instrument_id = any (string_to_array(:'instrument_ids', ',')::int[]))
  and (:'interval' = '' or r.interval = :'interval')
  and r.open_time >= :'from_time'
  and r.open_time < :'to_time'
order by r.id desc
limit :'limit';
