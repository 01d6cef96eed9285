-- Stages a few candles that are sent with the statement itself, for a top-up
-- Locks nothing that others see. Can be run again.

insert into staged_klines (instrument_id, interval, :candle_columns)
select :'instrument_id', :'interval', :candle_columns
from json_populate_recordset(null::klines, :'candles');
