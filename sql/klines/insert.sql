-- Inserts the staged candles of one series where no tier holds any and none is staged twice
-- Locks nothing that is there. Not to be run again: merge.sql is for what may be stored already.
-- Without a conflict to look for, this takes little more than half the time of merge.sql.

with inserted as (
  insert into klines (
    instrument_id, interval, open_time, close_time,
    open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  )
  select
    :'instrument_id'::int, :'interval', open_time, close_time,
    open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from staged_klines
  returning 1
)
select count(*)::int as inserted, 0 as revised
from inserted;
