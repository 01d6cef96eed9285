-- all_klines: every candle of both tiers, the view that readers use
-- Locks nothing that exists. Runs once.
-- Reading the two tables in two statements can see a row that is being moved twice, or never.

create view all_klines as
select
  i.market, i.symbol, 'hot' as tier,
  (extract(epoch from k.open_time) * 1000)::bigint as timestamp,
  k.instrument_id, k.interval, k.open_time, k.close_time,
  k.open_price, k.high_price, k.low_price, k.close_price,
  k.volume, k.quote_volume, k.trades_count, k.taker_buy_volume, k.taker_buy_quote_volume,
  k.created_at, k.updated_at
from klines k
join instruments i on i.id = k.instrument_id
union all
select
  i.market, i.symbol, 'archive' as tier,
  (extract(epoch from k.open_time) * 1000)::bigint as timestamp,
  k.instrument_id, k.interval, k.open_time, k.close_time,
  k.open_price, k.high_price, k.low_price, k.close_price,
  k.volume, k.quote_volume, k.trades_count, k.taker_buy_volume, k.taker_buy_quote_volume,
  k.created_at, k.updated_at
from klines_archive k
join instruments i on i.id = k.instrument_id;

comment on column all_klines.timestamp is 'open time in Unix milliseconds';
