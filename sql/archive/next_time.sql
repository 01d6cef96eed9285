-- The first candle of one series in a range
-- Locks nothing. Can be run again. Reads one index entry.

select min(open_time) as next_time
from :"source"
where instrument_id = :'instrument_id'::int
  and interval = :'interval'
  and open_time >= :'from_time'
  and open_time < :'to_time';
