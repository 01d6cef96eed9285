-- Whether no tier holds a candle of one series in a range
-- Locks nothing. Can be run again.

select not exists (
  select from both_tiers
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time < :'to_time'
) as is_empty;
