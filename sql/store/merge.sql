-- Merges the staged candles of one series into klines
-- Locks the rows it writes. Can be run again: candles that are the same stay untouched.
-- Of a candle staged twice the later one counts. What the archive holds is not written again.

with staged as (
  select distinct on (open_time)
    open_time, close_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from staged_klines
  order by open_time, ctid desc
),
merged as (
  insert into klines as k (
    instrument_id, interval, open_time, close_time,
    open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  )
  select
    :'instrument_id'::int, :'interval', s.open_time, s.close_time,
    s.open_price, s.high_price, s.low_price, s.close_price,
    s.volume, s.quote_volume, s.trades_count, s.taker_buy_volume, s.taker_buy_quote_volume
  from staged s
  where not exists (
    select from klines_archive a
    where a.instrument_id = :'instrument_id'::int
      and a.interval = :'interval'
      and a.open_time = s.open_time
  )
  order by s.open_time
  on conflict (instrument_id, interval, open_time) do update set
    close_time = excluded.close_time,
    open_price = excluded.open_price,
    high_price = excluded.high_price,
    low_price = excluded.low_price,
    close_price = excluded.close_price,
    volume = excluded.volume,
    quote_volume = excluded.quote_volume,
    trades_count = excluded.trades_count,
    taker_buy_volume = excluded.taker_buy_volume,
    taker_buy_quote_volume = excluded.taker_buy_quote_volume,
    updated_at = now()
  where (
    k.close_time, k.open_price, k.high_price, k.low_price, k.close_price,
    k.volume, k.quote_volume, k.trades_count, k.taker_buy_volume, k.taker_buy_quote_volume
  ) is distinct from (
    excluded.close_time, excluded.open_price, excluded.high_price, excluded.low_price, excluded.close_price,
    excluded.volume, excluded.quote_volume, excluded.trades_count,
    excluded.taker_buy_volume, excluded.taker_buy_quote_volume
  )
  -- xmax cannot be read of a partitioned table: a new row is one created in this transaction.
  returning k.created_at = now() as is_new
)
select
  count(*) filter (where is_new)::int as inserted,
  count(*) filter (where not is_new)::int as revised
from merged;
