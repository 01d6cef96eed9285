-- How many stored candles of a range a staged file leaves unchanged: archived ones, and ones that are not in it
-- Locks nothing. Can be run again. A join could become a nested loop of months, since the
-- planner has no statistics of the staging table: so both sides are sorted or hashed together.

select
  count(*) filter (where is_archived)::int as archived,
  count(*) filter (where is_stored and not is_staged)::int as lacking
from (
  select
    bool_or(tier = 'archive') as is_archived,
    bool_or(tier is not null) as is_stored,
    bool_or(tier is null) as is_staged
  from (
    select open_time, tier
    from stored_candles(:'instrument_id', :'interval', :'from_time', :'to_time')
    union all
    select open_time, null
    from staged_klines
  ) as both_sides
  group by open_time
) as times;
