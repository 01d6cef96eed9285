-- Slots of the grid that hold more than one candle, on the days that have candles off the grid
-- Locks nothing. Can be run again. Another check finds the same candle in both tiers: here it counts once.

select
  'doubled-slot' as check_name,
  slot as open_time,
  format('%s candles in one slot', count(*)) as detail,
  hash_array_extended(array_agg(open_time order by open_time), 0) as row_hash
from (
  select distinct open_time, slot_of(:'interval', open_time) as slot
  from candles_on_days(:'instrument_id', :'interval', :'days', :'from_time', :'to_time')
) as stored
group by slot
having count(*) > 1
