-- Records the stored candles that differ from the staged ones of a file, and that REST has confirmed
-- Locks nothing but the new rows. Can be run again: what the log has already is not written again.
-- The offset keeps the planner to one look into the index a candle.

insert into repairs (instrument_id, interval, open_time, tier, was, was_source, offered, source, became, decided_by)
select :'instrument_id'::int, :'interval', open_time, tier, was, was_source, offered, :'source', was, 'rest'
from (
  select
    stored.open_time, stored.tier,
    candle_values(to_jsonb(stored)) as was,
    candle_source(:'instrument_id'::int, :'interval', stored.open_time, stored.updated_at) as was_source,
    candle_values(to_jsonb(staged)) as offered
  from staged_klines as staged
  cross join lateral (
    select *
    from both_tiers
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = staged.open_time
    offset 0
  ) as stored
  where (:stored_values) is distinct from (:staged_values)
) as kept
where not exists (
  select from repairs r
  where r.instrument_id = :'instrument_id'::int
    and r.interval = :'interval'
    and r.open_time = kept.open_time
    and r.tier = kept.tier
    and r.source = :'source'
    and r.offered = kept.offered
    and r.became = kept.was
)
order by open_time, tier;
