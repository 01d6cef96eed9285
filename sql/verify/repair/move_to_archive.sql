-- Moves candles of one series that a repair stored in klines to klines_archive, where their neighbours are
-- Locks the rows it moves. Can be run again: a candle that was moved already is not moved again.

with moved as (
  delete from klines
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time < (select b.open_time from archive_boundary(:'instrument_id'::int, :'interval') as b)
    and created_at >= :'since'
  returning *
),
archived as (
  insert into klines_archive (instrument_id, interval, :candle_columns, created_at, updated_at)
  select instrument_id, interval, :candle_columns, created_at, updated_at
  from moved
  returning open_time
)
select open_time from archived order by open_time;
