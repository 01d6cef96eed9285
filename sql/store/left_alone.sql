-- How many stored candles of a range a staged file leaves unchanged: archived ones, and ones that are not in it
-- Locks nothing. Can be run again.

select
  count(*) filter (where tier = 'archive')::int as archived,
  count(*) filter (
    where not exists (select from staged_klines s where s.open_time = stored.open_time)
  )::int as lacking
from stored_candles(:'instrument_id', :'interval', :'from_time', :'to_time') as stored;
