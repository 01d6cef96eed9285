-- Whether no tier holds a candle of one series in a range
-- Locks nothing. Can be run again.

select not exists (
  select from stored_candles(:'instrument_id', :'interval', :'from_time', :'to_time')
) as is_empty;
