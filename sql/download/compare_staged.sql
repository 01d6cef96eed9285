-- How many stored candles of a range are missing from the staged answer, and the first of them
-- Locks nothing. Can be run again. Archived candles are never replaced, so they are not compared. A join could become
-- a nested loop of years, since the planner has no statistics of the staging table: so both sides are sorted or hashed together.

select
  count(*) filter (where is_stored)::int as stored_rows,
  count(*) filter (where is_stored and not is_staged)::int as lacking_rows,
  min(open_time) filter (where is_stored and not is_staged) as first_lacking_time
from (
  select open_time, bool_or(is_stored) as is_stored, bool_or(not is_stored) as is_staged
  from (
    select open_time, true as is_stored
    from klines
    where instrument_id = :'instrument_id'::int
      and interval = :'interval'
      and open_time >= :'from_time'
      and open_time < :'to_time'
    union all
    select open_time, false
    from staged_klines
  ) as both_sides
  group by open_time
) as times;
