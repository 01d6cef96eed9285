-- Stretches of one series' archive that do not hold what archive_batches says was moved there
-- Locks nothing. Can be run again. Reads every archived candle of the range once.
-- Hashes are sums, so batches that overlap are held against the archive together: what was moved
-- there, less what was restored. A seal stands for all that was moved there before it.

with entries as (
  select
    b.from_time, b.to_time, b.moved_at as at,
    -- Older databases have no direction: what they moved, they archived.
    case to_jsonb(b) ->> 'direction' when 'restore' then -1 else 1 end as sign,
    b.moved_rows as rows, b.content_hash, false as is_seal
  from archive_batches b
  where b.instrument_id = :'instrument_id'::int and b.interval = :'interval'
  union all
  select s.from_time, s.to_time, s.sealed_at, 1, s.rows, s.content_hash, true
  from archive_seals s
  where s.instrument_id = :'instrument_id'::int and s.interval = :'interval'
),
counting as (
  select e.*
  from entries e
  where not exists (
    select from entries s
    where s.is_seal
      and s.from_time < e.to_time
      and s.to_time > e.from_time
      and (s.at > e.at or (s.at = e.at and not e.is_seal))
  )
),
reached as (
  select *, max(to_time) over (order by from_time, to_time rows between unbounded preceding and 1 preceding) as covered_to
  from counting
),
numbered as (
  select *, count(*) filter (where covered_to is null or from_time >= covered_to) over (order by from_time, to_time) as stretch
  from reached
),
stretches as (
  select
    min(from_time) as from_time,
    max(to_time) as to_time,
    sum(sign * rows)::int as wanted_rows,
    sum(sign * content_hash) as wanted_hash
  from numbered
  group by stretch
)
select
  s.from_time, s.to_time, s.wanted_rows, found.rows as found_rows
from stretches s
cross join lateral (
  select
    count(*)::int as rows,
    coalesce(
      sum(
        hash_record_extended(
          row(
            instrument_id, interval, open_time, close_time,
            open_price, high_price, low_price, close_price,
            volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume,
            created_at, updated_at
          ),
          0
        )
      ),
      0
    ) as content_hash
  from klines_archive a
  where a.instrument_id = :'instrument_id'::int
    and a.interval = :'interval'
    and a.open_time >= s.from_time
    and a.open_time < s.to_time
) as found
where s.from_time < :'to_time'
  and s.to_time > :'from_time'
  and (found.rows, found.content_hash) is distinct from (s.wanted_rows, s.wanted_hash)
order by s.from_time;
