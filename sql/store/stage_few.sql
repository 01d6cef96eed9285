-- Stages some candles that come with the statement itself, for a top-up
-- Locks nothing that others see. Can be run again.

insert into staged_klines (
  instrument_id, interval, open_time, close_time,
  open_price, high_price, low_price, close_price,
  volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
)
select
  :'instrument_id', :'interval', open_time, close_time,
  open_price, high_price, low_price, close_price,
  volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
from json_to_recordset(:'candles') as sent (
  open_time timestamptz, close_time timestamptz,
  open_price numeric, high_price numeric, low_price numeric, close_price numeric,
  volume numeric, quote_volume numeric, trades_count int,
  taker_buy_volume numeric, taker_buy_quote_volume numeric
);
