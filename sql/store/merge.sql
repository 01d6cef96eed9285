-- Merges the staged candles of one series into klines
-- Locks the rows it writes. Can be run again: candles that are the same stay untouched.
-- Of a candle staged twice the later one counts. What the archive holds is not written again.

with staged as (
  select distinct on (open_time) :candle_columns
  from staged_klines
  order by open_time, ctid desc
),
merged as (
  insert into klines as stored (instrument_id, interval, :candle_columns)
  select :'instrument_id'::int, :'interval', :candle_columns
  from staged
  where not exists (
    select from klines_archive a
    where a.instrument_id = :'instrument_id'::int
      and a.interval = :'interval'
      and a.open_time = staged.open_time
  )
  order by open_time
  on conflict (instrument_id, interval, open_time) do update set
    (:candle_values) = row(:excluded_values),
    updated_at = now()
  where (:stored_values) is distinct from (:excluded_values)
  -- A partitioned table does not show xmax: a row is new if this transaction created it.
  returning stored.created_at = now() as is_new
)
select
  count(*) filter (where is_new)::int as inserted,
  count(*) filter (where not is_new)::int as revised
from merged;
