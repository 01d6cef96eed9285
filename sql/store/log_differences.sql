-- Records the stored candles that differ from the staged ones of a source
-- Locks nothing that exists. Can be run again: what the log has already stays. What REST sends replaces a candle in klines, so
-- run it in the transaction that merges them. Archived candles stay as they are, and so does everything that differs
-- from a file: REST has confirmed the stored candle. What settle_disputes.sql has just decided is left out.
-- The offset keeps the planner to one look into the index a candle.

with staged as (
  select distinct on (open_time) *
  from staged_klines
  order by open_time, ctid desc
),
differing as (
  select
    stored.tier, stored.open_time,
    candle_values(to_jsonb(stored)) as was,
    candle_source(:'instrument_id'::int, :'interval', stored.open_time, stored.updated_at) as was_source,
    candle_values(to_jsonb(staged)) as offered
  from staged
  cross join lateral (
    select *
    from both_tiers
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = staged.open_time
    offset 0
  ) as stored
  where (:stored_values) is distinct from (:staged_values)
),
decided as (
  select *, case when tier = 'hot' and :'source' = 'rest' then offered else was end as became
  from differing
)
insert into repairs (instrument_id, interval, open_time, tier, was, was_source, offered, source, became, decided_by)
select :'instrument_id'::int, :'interval', open_time, tier, was, was_source, offered, :'source', became, 'rest'
from decided d
where not exists (
  select from repairs r
  where r.instrument_id = :'instrument_id'::int
    and r.interval = :'interval'
    and r.open_time = d.open_time
    and r.tier = d.tier
    and (
      r.repaired_at = now() and r.decided_by is not null
      or d.became = d.was and r.source = :'source' and r.offered = d.offered and r.became = d.became
    )
)
order by open_time, tier;
