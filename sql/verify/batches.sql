-- Spans of one series' archive whose content differs from what archive_batches logged
-- Locks nothing. Can be run again. Reads every archived candle of the range once.
-- Hashes are sums, so batches that overlap are compared with the archive together: what was moved there, less
-- what was restored. A checkpoint replaces everything that was moved there before it.

with entries as (
  select
    from_time, to_time, moved_at as at,
    case direction
      when 'restore' then -moved_rows - dropped_rows
      else moved_rows - conflict_rows + dropped_rows - equal_rows
    end as rows,
    case direction when 'restore' then -content_hash - dropped_hash else content_hash - replaced_hash end as content_hash,
    false as is_checkpoint
  from archive_batches
  where instrument_id = :'instrument_id'::int and interval = :'interval'
  union all
  select from_time, to_time, recorded_at, rows, content_hash, true
  from archive_checkpoints
  where instrument_id = :'instrument_id'::int and interval = :'interval'
),
counting as (
  select e.*
  from entries e
  where not exists (
    select from entries c
    where c.is_checkpoint
      and c.from_time < e.to_time
      and c.to_time > e.from_time
      and (c.at > e.at or (c.at = e.at and not e.is_checkpoint))
  )
),
-- A span is a run of entries that overlap: each begins before the ones earlier in it end.
reached as (
  select *, max(to_time) over (order by from_time, to_time rows between unbounded preceding and 1 preceding) as covered_to
  from counting
),
numbered as (
  select *, count(*) filter (where covered_to is null or from_time >= covered_to) over (order by from_time, to_time) as span
  from reached
),
spans as (
  select
    min(from_time) as from_time, max(to_time) as to_time,
    sum(rows)::int as wanted_rows, sum(content_hash) as wanted_hash
  from numbered
  group by span
),
between_spans as (
  select lag(to_time, 1, '-infinity') over (order by from_time) as from_time, from_time as to_time
  from spans
  union all
  select coalesce(max(to_time), '-infinity'), 'infinity'
  from spans
),
wanted as (
  select from_time, to_time, wanted_rows, wanted_hash
  from spans
  union all
  -- No batch accounts for candles that lie between the spans.
  select a.from_time, a.to_time, 0, 0
  from between_spans b
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
  (extract(epoch from w.from_time) * 1000)::float8 as "fromMs",
  (extract(epoch from w.to_time) * 1000)::float8 as "toMs",
  w.wanted_rows as "wantedRows",
  found.rows as "foundRows"
from wanted w
cross join lateral (
  select
    count(*)::int as rows,
    coalesce(sum(:row_hash), 0) as content_hash
  from klines_archive a
  where a.instrument_id = :'instrument_id'::int
    and a.interval = :'interval'
    and a.open_time >= w.from_time
    and a.open_time < w.to_time
) as found
where w.from_time < :'to_time'
  and w.to_time > :'from_time'
  and (found.rows, found.content_hash) is distinct from (w.wanted_rows, w.wanted_hash)
order by w.from_time;
