-- Moves candles of one series that a repair stored in klines on to klines_archive, where older
-- and newer ones lie already
-- Locks the rows it moves. Can be run again: what is moved already is not moved again.

with moved as (
  delete from klines k
  where k.instrument_id = :'instrument_id'::int
    and k.interval = :'interval'
    and k.open_time < (
      select a.open_time
      from klines_archive a
      where a.instrument_id = :'instrument_id'::int
        and a.interval = :'interval'
        and not exists (
          select from klines h
          where h.instrument_id = :'instrument_id'::int and h.interval = :'interval' and h.open_time = a.open_time
          offset 0
        )
      order by a.open_time desc
      limit 1
    )
    and k.created_at >= :'since'
  returning
    k.instrument_id, k.interval, k.open_time, k.close_time,
    k.open_price, k.high_price, k.low_price, k.close_price,
    k.volume, k.quote_volume, k.trades_count, k.taker_buy_volume, k.taker_buy_quote_volume,
    k.created_at, k.updated_at
),
settled as (
  insert into klines_archive (
    instrument_id, interval, open_time, close_time,
    open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume,
    created_at, updated_at
  )
  select
    instrument_id, interval, open_time, close_time,
    open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume,
    created_at, updated_at
  from moved
  returning open_time
)
select open_time from settled order by open_time;
