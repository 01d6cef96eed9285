-- The latest runs of archive and restore, newest first
-- Locks nothing. Can be run again. `instrument_ids` and `run_id` narrow it; empty: all.

with latest as (
  select r.*
  from archive_runs r
  where (:'run_id' = '' or r.id = nullif(:'run_id', '')::bigint)
    and (
      :'instrument_ids' = ''
      or exists (
        select from archive_batches b
        where b.run_id = r.id
          and b.instrument_id = any (string_to_array(:'instrument_ids', ',')::int[])
      )
    )
  order by r.id desc
  limit :'limit'::int
)
select
  r.id, r.verb, r.started_at, r.finished_at, r.started_by, r.host, r.from_time, r.to_time,
  b.moved_rows, b.batches, b.equal_rows, b.conflict_rows, b.content_hash,
  r.outcome, r.detail
from latest r
cross join lateral (
  select
    count(*)::int as batches,
    coalesce(sum(moved_rows), 0)::float8 as moved_rows,
    coalesce(sum(equal_rows), 0)::float8 as equal_rows,
    coalesce(sum(conflict_rows), 0)::float8 as conflict_rows,
    coalesce(sum(content_hash), 0)::text as content_hash
  from archive_batches
  where run_id = r.id
) as b
order by r.id desc;
