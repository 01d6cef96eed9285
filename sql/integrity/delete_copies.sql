-- Deletes from klines the candles of one series that the archive holds with the same content
-- Locks the rows it deletes. Can be run again.

with gone as (
  delete from klines h
  using klines_archive a
  where h.instrument_id = :'instrument_id'::int
    and h.interval = :'interval'
    and a.instrument_id = :'instrument_id'::int
    and a.interval = :'interval'
    and a.open_time = h.open_time
    and (
      h.close_time, h.open_price, h.high_price, h.low_price, h.close_price,
      h.volume, h.quote_volume, h.trades_count, h.taker_buy_volume, h.taker_buy_quote_volume
    ) is not distinct from (
      a.close_time, a.open_price, a.high_price, a.low_price, a.close_price,
      a.volume, a.quote_volume, a.trades_count, a.taker_buy_volume, a.taker_buy_quote_volume
    )
  returning h.open_time
)
select count(*)::int as deleted from gone;
