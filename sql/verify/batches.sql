-- Stretches of one series' archive that do not hold what archive_batches says was moved there
-- Locks nothing. Can be run again. Reads every archived candle of the range once.
-- Hashes are sums, so batches that overlap are held against the archive together: what was moved
-- there, less what was restored. A seal stands for all that was moved there before it.

with entries as (
  select
    from_time, to_time, moved_at as at,
    case direction
      when 'restore' then -moved_rows - dropped_rows
      else moved_rows - conflict_rows + dropped_rows - equal_rows
    end as rows,
    case direction when 'restore' then -content_hash - dropped_hash else content_hash - replaced_hash end as content_hash,
    false as is_seal
  from archive_batches
  where instrument_id = :'instrument_id'::int and interval = :'interval'
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
    -- A batch without a hash cannot be told.
    case when bool_and(content_hash is not null) then sum(content_hash) end as wanted_hash
  from numbered
  group by stretch
),
between_stretches as (
  select lag(to_time, 1, '-infinity') over (order by from_time) as from_time, from_time as to_time
  from stretches
  union all
  select coalesce(max(to_time), '-infinity'), 'infinity'
  from stretches
),
wanted as (
  select from_time, to_time, wanted_rows, wanted_hash
  from stretches
  where wanted_hash is not null
  union all
  -- What lies between them was never moved there.
  select a.from_time, a.to_time, 0, 0
  from between_stretches b
  cross join lateral (
    select min(open_time) as from_time, max(open_time) + interval '1 millisecond' as to_time
    from klines_archive
    where instrument_id = :'instrument_id'::int
      and interval = :'interval'
      and open_time >= b.from_time
      and open_time < b.to_time
  ) as a
  where b.from_time < b.to_time
    and a.from_time is not null
)
select
  s.from_time, s.to_time, s.wanted_rows, found.rows as found_rows
from wanted s
cross join lateral (
  select
    count(*)::int as rows,
    coalesce(sum(:row_hash), 0) as content_hash
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
