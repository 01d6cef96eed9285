-- The candles of one series as they are stored, both tiers together, oldest first
-- Locks nothing. Can be run again. Reads along the two indexes, so the first row comes at once.

select :candle_columns, 1 as parts
from both_tiers
where instrument_id = :'instrument_id'::int
  and interval = :'interval'
  and open_time >= :'from_time'
  and open_time < :'to_time'
order by open_time;
