-- Which stored candles of a range the staged file leaves as they are: archived ones, and ones it lacks
-- Locks nothing. Can be run again.

with stored as (
  select open_time, false as is_archived
  from klines
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time < :'to_time'
  union all
  select open_time, true as is_archived
  from klines_archive
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time < :'to_time'
)
select
  count(*) filter (where is_archived)::int as archived,
  count(*) filter (where not exists (select from staged_klines s where s.open_time = stored.open_time))::int as lacking
from stored;
