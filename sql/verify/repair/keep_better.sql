-- Keeps of the staged answer only candles that are better than the stored ones: different, and valid
-- Locks nothing that others see. Can be run again. Returns the open times of those that are stored unchanged.

-- A file with two candles for one slot leaves the choice to REST: one of them alone would replace both.
delete from staged_klines
where slot_of(:'interval', open_time) in (
  select slot_of(:'interval', open_time)
  from staged_klines
  group by 1
  having count(distinct open_time) > 1
);

-- The offset keeps the planner to one look into the index a candle.
with equal as (
  delete from staged_klines staged
  where exists (
    select from both_tiers stored
    where stored.instrument_id = :'instrument_id'::int
      and stored.interval = :'interval'
      and stored.open_time = staged.open_time
      and (:stored_values) is not distinct from (:staged_values)
    offset 0
  )
  returning open_time
),
unsound as (
  delete from staged_klines
  where not is_sound(:'interval', :candle_columns)
)
select open_time from equal;
