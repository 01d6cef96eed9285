-- The candles of one series as they are stored, both tiers together, oldest first
-- Locks nothing. Can be run again. Reads along the two indexes, so the first row is returned at once.

select :candle_columns, 1 as parts
from stored_candles(:'instrument_id', :'interval', :'from_time', :'to_time')
order by open_time;
