-- Copies the candles of one window from the table `source` to the table `target`, and logs the batch
-- Locks nothing that exists. delete_moved.sql must follow in the same REPEATABLE READ transaction: then all
-- statements see the same rows of the source, and if another session changes one meanwhile, the batch fails and
-- no row is lost. Can be run again: a window that was moved already is empty.
--
-- `held_rows` and `held_hash` are what the target held in the window before (read_target.sql). The caller commits
-- only if is_proven: the target, read back, gained the rows and the content that the source has. `columns` and
-- `row_hash`, which hashes all of them, come from columns.sql.

insert into :"target" (:columns)
select :columns
from :"source"
where instrument_id = :'instrument_id'::int
  and interval = :'interval'
  and open_time >= :'from_time'
  and open_time < :'to_time';

with wanted as (
  select count(*)::int as row_count, coalesce(sum(:row_hash), 0) as content_hash
  from :"source" s
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time < :'to_time'
),
gained as (
  select
    count(*)::int - :'held_rows'::int as row_count,
    coalesce(sum(:row_hash), 0) - :'held_hash'::numeric as content_hash
  from :"target" t
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and open_time >= :'from_time'
    and open_time < :'to_time'
),
logged as (
  insert into archive_batches (
    batch_id, run_id, direction, instrument_id, interval, from_time, to_time, moved_rows, content_hash,
    equal_rows, conflict_rows, conflicts, dropped_rows, dropped_hash, replaced_hash, duration_ms
  )
  select
    :'batch_id', :'run_id', :'direction', :'instrument_id', :'interval', :'from_time', :'to_time',
    row_count, content_hash, :'equal_rows', :'conflict_rows', nullif(:'conflicts', '')::jsonb,
    :'dropped_rows', :'dropped_hash', :'replaced_hash',
    ceil(extract(epoch from clock_timestamp() - transaction_timestamp()) * 1000)
  from wanted
  where row_count + :'equal_rows'::int + :'conflict_rows'::int > 0
)
select
  wanted.row_count as wanted_rows,
  gained.row_count as gained_rows,
  (wanted.row_count, wanted.content_hash) = (gained.row_count, gained.content_hash)
    -- Reads the current catalogue, not the snapshot: nothing can detach the tables any more.
    and (
      pg_partition_root(format('%I', :'source'::text)::regclass)::oid,
      pg_partition_root(format('%I', :'target'::text)::regclass)::oid
    ) in (
      ('klines'::regclass::oid, 'klines_archive'::regclass::oid),
      ('klines_archive'::regclass::oid, 'klines'::regclass::oid)
    ) as is_proven
from wanted, gained;
