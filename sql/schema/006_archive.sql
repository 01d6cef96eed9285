-- What archive and restore did: their runs, each batch of candles that they moved, and the restored ranges
-- Locks nothing that exists. Runs once.

create table archive_runs (
  id bigint generated always as identity primary key,
  verb text not null check (verb in ('archive', 'restore')),
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  started_by text not null default session_user,
  host text not null,
  from_time timestamptz(3),
  to_time timestamptz(3) not null,
  moved_rows bigint not null default 0,
  outcome text check (outcome in ('done', 'work remaining', 'refused', 'failed')),
  detail text
);

comment on table archive_runs is 'the runs of archive and restore';
comment on column archive_runs.id is 'in the order in which they started';
comment on column archive_runs.verb is 'archive or restore';
comment on column archive_runs.started_at is 'when it started';
comment on column archive_runs.finished_at is 'when it finished; null: still running, or killed';
comment on column archive_runs.started_by is 'the role that it connected as';
comment on column archive_runs.host is 'the machine that it ran on';
comment on column archive_runs.from_time is 'the first open time to move; null: from the first candle on';
comment on column archive_runs.to_time is 'the end of the open times to move, exclusive';
comment on column archive_runs.moved_rows is 'candles that it moved, known when it has finished';
comment on column archive_runs.outcome is 'null: still running, or killed; its batches show how far it came';
comment on column archive_runs.detail is 'what failed, or why work remains';

create table archive_batches (
  id bigint generated always as identity primary key,
  batch_id uuid not null default gen_random_uuid() unique,
  run_id bigint not null references archive_runs,
  direction text not null check (direction in ('archive', 'restore')),
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null,
  moved_rows int not null,
  content_hash numeric(38, 0) not null,
  equal_rows int not null default 0,
  conflict_rows int not null default 0,
  conflicts jsonb,
  dropped_rows int not null default 0,
  dropped_hash numeric(38, 0) not null default 0,
  replaced_hash numeric(38, 0) not null default 0,
  moved_at timestamptz not null default now(),
  duration_ms int
);

create index on archive_batches (instrument_id, interval, from_time);
create index on archive_batches (run_id);

-- Source is the table that a batch moved candles from, target the one that it moved them to.
comment on table archive_batches is 'the batches that were moved; each is written in the transaction that moves its candles';
comment on column archive_batches.id is 'in the order in which they were written';
comment on column archive_batches.batch_id is 'made by the script: if the connection drops during COMMIT, this row shows whether it succeeded';
comment on column archive_batches.run_id is 'archive_runs.id';
comment on column archive_batches.direction is 'archive: from klines to klines_archive; restore: back';
comment on column archive_batches.instrument_id is 'instruments.id';
comment on column archive_batches.interval is 'klines.interval';
comment on column archive_batches.from_time is 'the first open time of the batch';
comment on column archive_batches.to_time is 'the end of its open times, exclusive';
comment on column archive_batches.moved_rows is 'candles that were copied to the target and deleted from the source';
comment on column archive_batches.content_hash is
  'sum of row_hash (sql/archive/columns.sql) over the moved rows, in any order. '
  'For each series, the sum over its archive batches of content_hash - replaced_hash, less the sum over its '
  'restore batches of content_hash + dropped_hash, is the same sum over all of its rows in klines_archive';
comment on column archive_batches.equal_rows is 'candles that both tables held with the same content: the source''s copy was deleted';
comment on column archive_batches.conflict_rows is 'candles that the tables held with different content: the one with the newer updated_at stayed';
comment on column archive_batches.conflicts is 'for each conflict: open_time, kept (source or target), and both rows';
comment on column archive_batches.dropped_rows is 'rows of the source that were deleted without being moved';
comment on column archive_batches.dropped_hash is 'the sum of their hashes, as in content_hash';
comment on column archive_batches.replaced_hash is 'the same sum over the rows of the target that a newer one replaced';
comment on column archive_batches.moved_at is 'when its transaction began';
comment on column archive_batches.duration_ms is 'how long it took, without the COMMIT';

create table restored_ranges (
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null check (to_time > from_time),
  keep_until timestamptz(3) not null,
  run_id bigint not null references archive_runs,
  restored_at timestamptz not null default now(),
  primary key (instrument_id, interval, from_time, to_time)
);

comment on table restored_ranges is 'ranges that archive leaves in klines for a while; delete a row to let the next run take its range';
comment on column restored_ranges.instrument_id is 'instruments.id';
comment on column restored_ranges.interval is 'klines.interval';
comment on column restored_ranges.from_time is 'the first open time that was restored';
comment on column restored_ranges.to_time is 'the end of the restored open times, exclusive';
comment on column restored_ranges.keep_until is 'from then on archive may move it again';
comment on column restored_ranges.run_id is 'archive_runs.id of the restore';
comment on column restored_ranges.restored_at is 'when it was restored';
