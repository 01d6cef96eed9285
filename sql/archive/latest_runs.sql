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
  r.id, r.verb, r.started_at as "startedAt", r.finished_at as "finishedAt", r.started_by as "startedBy", r.host,
  r.from_time as "from", r.to_time as "to", b.*, r.outcome, r.detail
from latest r
cross join lateral (
  select
    coalesce(sum(moved_rows), 0)::float8 as "movedRows",
    count(*)::int as batches,
    coalesce(sum(equal_rows), 0)::float8 as "equalRows",
    coalesce(sum(conflict_rows), 0)::float8 as "conflictRows",
    coalesce(sum(content_hash), 0)::text as "contentHash"
  from archive_batches
  where run_id = r.id
) as b
order by r.id desc;
