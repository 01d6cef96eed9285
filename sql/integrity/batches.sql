-- Stretches of one series' archive that do not hold what archive_batches says was moved there
-- Locks nothing. Can be run again. Reads every archived candle of the range once.
-- Hashes are sums, so batches that overlap are held against the archive together: what was moved
-- there, less what was restored. A seal stands for all that was moved there before it.

with entries as (
  select
    b.from_time, b.to_time, b.moved_at as at,
    case m.direction when 'restore' then -b.moved_rows - m.dropped_rows
      else b.moved_rows - (m.conflict_rows - (m.dropped_rows - m.equal_rows))
    end as rows,
    case m.direction when 'restore' then -b.content_hash - m.dropped_hash
      else b.content_hash - m.replaced_hash
    end as content_hash,
    false as is_seal
  from archive_batches b
  cross join lateral (
    -- Databases of before have none of these columns: what they moved, they archived.
    select
      coalesce(to_jsonb(b) ->> 'direction', 'archive') as direction,
      coalesce((to_jsonb(b) ->> 'dropped_rows')::int, 0) as dropped_rows,
      coalesce((to_jsonb(b) ->> 'dropped_hash')::numeric, 0) as dropped_hash,
      coalesce((to_jsonb(b) ->> 'replaced_hash')::numeric, 0) as replaced_hash,
      coalesce((to_jsonb(b) ->> 'conflict_rows')::int, 0) as conflict_rows,
      coalesce((to_jsonb(b) ->> 'equal_rows')::int, 0) as equal_rows
  ) as m
  where b.instrument_id = :'instrument_id'::int and b.interval = :'interval'
  union all
  select s.from_time, s.to_time, s.sealed_at, s.rows, s.content_hash, true
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
    sum(rows)::int as wanted_rows,
    sum(content_hash) as wanted_hash
  from numbered
  group by stretch
  -- A batch without a hash cannot be told.
  having bool_and(content_hash is not null)
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
