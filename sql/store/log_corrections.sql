-- Records the stored candles that differ from the staged ones, which REST has sent
-- Locks nothing that exists. Run it in the transaction that merges them. Can be run again: what the log has already
-- stays. Archived candles stay as they are, and so does what settle_disputes.sql has just decided.
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
chosen as (
  select *, case tier when 'hot' then offered else was end as became
  from differing
)
insert into repairs (instrument_id, interval, open_time, tier, was, was_source, offered, source, became, decided_by)
select :'instrument_id'::int, :'interval', open_time, tier, was, was_source, offered, 'rest', became, 'rest'
from chosen
where not exists (
  select from repairs r
  where r.instrument_id = :'instrument_id'::int
    and r.interval = :'interval'
    and r.open_time = chosen.open_time
    and r.tier = chosen.tier
    and (
      r.repaired_at = now() and r.decided_by is not null
      or chosen.became = chosen.was and r.source = 'rest' and r.offered = chosen.offered and r.became = chosen.became
    )
)
order by open_time, tier;
