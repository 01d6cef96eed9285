-- Candles of one series on the wrong side of the boundary between its tiers
-- Locks nothing. Can be run again. Candles in klines that are older than the newest archived one, or archived
-- ones that are newer than the oldest in klines, whichever are fewer. A restored candle is not one of them,
-- and another check finds candles in both tiers. The offsets keep the planner to one look into the index
-- a candle.

with hot as not materialized (
  select h.open_time
  from klines h
  where h.instrument_id = :'instrument_id'::int
    and h.interval = :'interval'
    and not exists (
      select from klines_archive a
      where a.instrument_id = :'instrument_id'::int and a.interval = :'interval' and a.open_time = h.open_time
      offset 0
    )
    and (
      select b.direction
      from archive_batches b
      where b.instrument_id = :'instrument_id'::int
        and b.interval = :'interval'
        and b.from_time <= h.open_time
        and b.to_time > h.open_time
      order by b.id desc
      limit 1
    ) is distinct from 'restore'
),
strays as (
  select 'klines' as tier, open_time
  from hot
  where open_time < (select b.open_time from archive_boundary(:'instrument_id'::int, :'interval') as b)
  union all
  select 'klines_archive', a.open_time
  from klines_archive a
  where a.instrument_id = :'instrument_id'::int
    and a.interval = :'interval'
    and a.open_time > (select open_time from hot order by open_time limit 1)
    and not exists (
      select from klines h
      where h.instrument_id = :'instrument_id'::int and h.interval = :'interval' and h.open_time = a.open_time
      offset 0
    )
),
counted as (
  select tier, open_time, count(*) over (partition by tier) as found
  from strays
)
select
  'tier-boundary' as check_name,
  open_time,
  case tier
    when 'klines' then 'in klines, but newer candles are archived'
    else 'archived, but older candles are in klines'
  end as detail,
  null::bigint as row_hash
from counted
where tier = (select tier from counted order by found, tier limit 1)
  and open_time >= :'from_time'
  and open_time < :'to_time'
