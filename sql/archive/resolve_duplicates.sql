-- Deletes one copy of each candle that both tables hold in one window
-- Locks the rows it deletes. Can be run again: then there are no duplicates left.
-- Same content, whenever it was stored: the source's copy is deleted. Different content: the copy with the newer
-- updated_at stays (the target's, if both are as old), and both are returned for the log.

with pairs as materialized (
  select
    s.open_time,
    to_jsonb(s) as source_row,
    to_jsonb(t) as target_row,
    to_jsonb(s) - 'created_at' - 'updated_at' is distinct from to_jsonb(t) - 'created_at' - 'updated_at' as differs,
    s.updated_at > t.updated_at as is_source_newer,
    (select :row_hash from (select s.*) as source) as source_hash,
    (select :row_hash from (select t.*) as target) as target_hash
  from :"source" s
  join :"target" t
    on t.instrument_id = s.instrument_id
    and t.interval = s.interval
    and t.open_time = s.open_time
  where s.instrument_id = :'instrument_id'::int
    and s.interval = :'interval'
    and s.open_time >= :'from_time'
    and s.open_time < :'to_time'
),
dropped as (
  delete from :"source" s
  using pairs p
  where s.instrument_id = :'instrument_id'::int
    and s.interval = :'interval'
    and s.open_time = p.open_time
    and not (p.differs and p.is_source_newer)
  returning 1
),
replaced as (
  delete from :"target" t
  using pairs p
  where t.instrument_id = :'instrument_id'::int
    and t.interval = :'interval'
    and t.open_time = p.open_time
    and p.differs
    and p.is_source_newer
  returning 1
)
select
  count(*) filter (where not differs)::int as equal_rows,
  count(*) filter (where differs)::int as conflict_rows,
  jsonb_agg(
    jsonb_build_object(
      'open_time', open_time,
      'kept', case when is_source_newer then 'source' else 'target' end,
      'source', source_row,
      'target', target_row
    )
    order by open_time
  ) filter (where differs)::text as conflicts,
  count(*) filter (where not (differs and is_source_newer))::int as dropped_rows,
  coalesce(sum(source_hash) filter (where not (differs and is_source_newer)), 0)::text as dropped_hash,
  coalesce(sum(target_hash) filter (where differs and is_source_newer), 0)::text as replaced_hash,
  (select count(*) from dropped) + (select count(*) from replaced) = count(*) as is_settled
from pairs;
