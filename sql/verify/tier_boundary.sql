-- Candles of one series on the wrong side of the boundary between its tiers
-- Locks nothing. Can be run again. That is candles in klines older than the newest archived one,
-- or archived ones newer than the oldest in klines, whichever are fewer. What was restored stays
-- where it is, and what both tiers hold is another check's. The offsets keep the planner to one look
-- into the index a candle.

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
      -- Databases of before have no direction: what they moved, they archived.
      select to_jsonb(b) ->> 'direction'
      from archive_batches b
      where b.instrument_id = :'instrument_id'::int
        and b.interval = :'interval'
        and b.from_time <= h.open_time
        and b.to_time > h.open_time
      order by b.id desc
      limit 1
    ) is distinct from 'restore'
),
archived as not materialized (
  select a.open_time
  from klines_archive a
  where a.instrument_id = :'instrument_id'::int
    and a.interval = :'interval'
    and not exists (
      select from klines h
      where h.instrument_id = :'instrument_id'::int and h.interval = :'interval' and h.open_time = a.open_time
      offset 0
    )
),
strays as (
  select 'klines' as tier, open_time
  from hot
  where open_time < (select open_time from archived order by open_time desc limit 1)
  union all
  select 'klines_archive', open_time
  from archived
  where open_time > (select open_time from hot order by open_time limit 1)
),
counted as (
  select tier, open_time, count(*) over (partition by tier)::int as found
  from strays
)
select tier, open_time, found
from counted
where tier = (select tier from counted order by found, tier limit 1)
  and open_time >= :'from_time'
  and open_time < :'to_time'
order by open_time
limit :'shown'::int;
