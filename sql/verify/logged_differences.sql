-- What the log of repairs says about the stored candles of one series
-- Locks nothing. Can be run again. Only the last decision about a candle counts. outdated: the archive keeps other values
-- than REST sent. disputed: sources differed, and REST had no such candle. corrected: it had other values before.
-- The offset keeps the planner to one look into the index a candle.

with decisions as (
  select distinct on (open_time) *
  from repairs
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time < :'to_time'
  order by open_time, id desc
),
judged as (
  select
    case
      when d.source = 'rest' and d.became = d.was then 'outdated'
      when d.decided_by is null and d.offered <> d.became then 'disputed'
      when d.was is not null and d.became <> d.was then 'corrected'
    end as check_name,
    d.*
  from decisions d
  join lateral (
    select candle_values(to_jsonb(k)) as content
    from both_tiers k
    where k.instrument_id = :'instrument_id'::int
      and k.interval = :'interval'
      and k.open_time = d.open_time
    offset 0
  ) as stored on stored.content = d.became
)
select
  check_name,
  open_time,
  format('%s (%s / %s)', differing_values(coalesce(was, became), offered), coalesce(was_source, 'unknown'), source) as detail,
  case check_name when 'outdated' then hashtextextended(was::text || offered::text, 0) end as row_hash
from judged
where check_name is not null
