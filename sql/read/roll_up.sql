-- Candles of a longer interval, rolled up from a shorter stored one, both tiers together, oldest first
-- Locks nothing. Can be run again. stored_candles() is in sql/schema/002. Steps of months need the setting TimeZone = UTC.
-- A nested loop, slot after slot along the indexes: the rows are in order, and the first one is returned at once.
-- With ORDER BY PostgreSQL would sort, and so compute, everything before the first row.

select
  slot.open_time, rolled.close_time,
  rolled.open_price, rolled.high_price, rolled.low_price, rolled.close_price,
  rolled.volume, rolled.quote_volume, rolled.trades_count,
  rolled.taker_buy_volume, rolled.taker_buy_quote_volume,
  rolled.parts
from generate_series(
  :'from_time'::timestamptz,
  :'to_time'::timestamptz - interval '1 millisecond',
  :'step'::interval
) as slot (open_time)
cross join lateral (
  select
    max(close_time) as close_time,
    (array_agg(open_price order by open_time))[1] as open_price,
    max(high_price) as high_price,
    min(low_price) as low_price,
    (array_agg(close_price order by open_time))[count(*)] as close_price,
    sum(volume) as volume,
    sum(quote_volume) as quote_volume,
    sum(trades_count)::float8 as trades_count,
    sum(taker_buy_volume) as taker_buy_volume,
    sum(taker_buy_quote_volume) as taker_buy_quote_volume,
    count(*)::int as parts
  from stored_candles(:'instrument_id', :'interval', slot.open_time, slot.open_time + :'step'::interval)
) as rolled
where rolled.parts > 0;
