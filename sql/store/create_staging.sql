-- Creates this session's staging table, or empties it
-- Locks nothing that others see. Can be run again.

create temp table if not exists staged_klines (like klines including defaults);

truncate staged_klines;
