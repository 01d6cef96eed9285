-- The first of a series' loaded files that has the candles on both sides of a gap, and none between them
-- Locks nothing. Can be run again. Counts the candles of each file that covers both.
-- A file is stored in full. If as many slots have candles as the file had, then each of them was in the file. If there
-- are fewer, the file may have had candles in the gap; if there are more, the neighbours may be from elsewhere.

select f.name
from loaded_files f
where f.instrument_id = :'instrument_id'::int
  and f.interval = :'interval'
  and f.from_time <= :'before_time'::timestamptz
  and f.to_time > :'after_time'::timestamptz
  and f.rows = (
    select count(distinct slot_of(:'interval', s.open_time))
    from stored_candles(:'instrument_id', :'interval', f.from_time, f.to_time) s
  )
order by f.to_time - f.from_time, f.name
limit 1;
