-- Random candles of one series, both tiers: their open times
-- Locks nothing. Can be run again. Each stored candle has the same chance, whatever gaps lie between them. Reads
-- one index entry for each candle, and keeps only the picked ones in memory.

select open_time
from (
  select open_time
  from stored_candles(:'instrument_id', :'interval', :'from_time', :'to_time')
  -- Another check finds candles in both tiers: twice as many make up for the copies.
  order by random()
  limit 2 * :'picks'::int
) as picked
group by open_time
order by random()
limit :'picks'::int;
