-- Creates this session's table of the candles that REST sent for disputed open times, or empties it
-- Locks nothing that others see. Can be run again.

create temp table if not exists answered_klines (like klines including defaults);

truncate answered_klines;
