-- Open times for which sources differ: staged twice with different values, or stored with other values than staged
-- Locks nothing. Can be run again. What REST sends corrects the stored candle, so `with_stored` is false for REST.
-- The offset keeps the planner to one look into the index a candle.

with staged as (
  select distinct on (open_time, :candle_values) *
  from staged_klines
)
select open_time
from staged
group by open_time
having count(*) > 1
union
select staged.open_time
from staged
cross join lateral (
  select *
  from both_tiers
  where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = staged.open_time
  offset 0
) as stored
where :'with_stored'::boolean
  and (:stored_values) is distinct from (:staged_values)
order by open_time;
