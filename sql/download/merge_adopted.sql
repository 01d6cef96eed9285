-- Adds the staged candles that no tier holds, and compares the others with what is stored
-- Locks the rows that it writes. Can be run again: then all of them are stored, and equal.
-- With `writes` false it only compares. Of a candle staged twice the later one counts.

with staged as (
  select distinct on (open_time)
    open_time, close_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from staged_klines
  order by open_time, ctid desc
),
stored as (
  select
    open_time, close_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from klines
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time between :'from_time' and :'to_time'
  union all
  select
    open_time, close_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from klines_archive
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time between :'from_time' and :'to_time'
),
compared as (
  select
    s.*,
    k.open_time is not null as is_stored,
    (
      s.close_time, s.open_price, s.high_price, s.low_price, s.close_price,
      s.volume, s.quote_volume, s.trades_count, s.taker_buy_volume, s.taker_buy_quote_volume
    ) is distinct from (
      k.close_time, k.open_price, k.high_price, k.low_price, k.close_price,
      k.volume, k.quote_volume, k.trades_count, k.taker_buy_volume, k.taker_buy_quote_volume
    ) as differs
  from staged s
  left join stored k on k.open_time = s.open_time
),
added as (
  insert into klines (
    instrument_id, interval, open_time, close_time,
    open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  )
  select
    :'instrument_id'::int, :'interval', open_time, close_time,
    open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from compared
  where not is_stored and :'writes'::boolean
  order by open_time
  returning 1
)
select
  (select count(*) from staged_klines)::int - count(*)::int as duplicates,
  (select count(*) from added)::int as inserted,
  count(*) filter (where not is_stored)::int as missing,
  count(*) filter (where is_stored and not differs)::int as equal,
  count(*) filter (where is_stored and differs)::int as different,
  min(open_time) filter (where is_stored and differs) as first_different
from compared;
