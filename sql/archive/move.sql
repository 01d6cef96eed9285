-- Moves the candles of one window from klines to klines_archive, and writes down what it moved
-- Locks the rows it moves. Can be run again: a window that is moved already moves nothing.
-- One statement, so the copy and the delete see the same rows; the caller commits only when both
-- counted the same rows with the same content.

with copied as (
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
  from klines
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time < :'to_time'
  returning hash_record_extended(
    row(
      instrument_id, interval, open_time, close_time,
      open_price, high_price, low_price, close_price,
      volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume,
      created_at, updated_at
    ),
    0
  ) as row_hash
),
removed as (
  delete from klines
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time < :'to_time'
  returning hash_record_extended(
    row(
      instrument_id, interval, open_time, close_time,
      open_price, high_price, low_price, close_price,
      volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume,
      created_at, updated_at
    ),
    0
  ) as row_hash
),
tally as (
  select
    (select count(*)::int from copied) as copied_rows,
    (select coalesce(sum(row_hash), 0) from copied) as copied_hash,
    (select count(*)::int from removed) as removed_rows,
    (select coalesce(sum(row_hash), 0) from removed) as removed_hash
),
logged as (
  insert into archive_batches (run_id, instrument_id, interval, from_time, to_time, moved_rows, content_hash)
  select :'run_id', :'instrument_id', :'interval', :'from_time', :'to_time', copied_rows, copied_hash
  from tally
  where copied_rows > 0
)
select
  copied_rows, removed_rows,
  copied_rows = removed_rows and copied_hash = removed_hash as is_proven
from tally;
