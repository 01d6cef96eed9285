-- Adds the staged candles that no tier holds, and compares the others with what is stored
-- Locks the rows that it writes. Can be run again: then all of them are stored, and equal.
-- With `writes` false it only compares. Of a candle staged twice the later one counts.

with staged as (
  select distinct on (open_time) :candle_columns
  from staged_klines
  order by open_time, ctid desc
),
compared as (
  select
    staged.*,
    stored.open_time is not null as is_stored,
    (:staged_values) is distinct from (:stored_values) as differs
  from staged
  left join (
    select :candle_columns
    from both_tiers
    where instrument_id = :'instrument_id'::int
      and interval = :'interval'
      and open_time between (select min(open_time) from staged_klines) and (select max(open_time) from staged_klines)
  ) as stored using (open_time)
),
added as (
  insert into klines (instrument_id, interval, :candle_columns)
  select :'instrument_id'::int, :'interval', :candle_columns
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
  min(open_time) filter (where is_stored and differs) as first_different,
  max(open_time) as last_time
from compared;
