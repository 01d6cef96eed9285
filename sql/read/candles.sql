-- The candles of one series as they are stored, both tiers together, oldest first
-- Locks nothing. Can be run again. Reads along the two indexes, so the first row comes at once.

select
  open_time, close_time, open_price, high_price, low_price, close_price,
  volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume,
  1 as parts
from (
  select
    open_time, close_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from klines
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time < :'to_time'
  union all
  select
    open_time, close_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from klines_archive
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time < :'to_time'
) as stored
order by open_time;
