-- archive_runs and archive_batches tell of restores, conflicts and time too
-- Locks both for a moment; they are small. Runs once.

alter table archive_runs
  add column verb text not null default 'archive' check (verb in ('archive', 'restore')),
  add column from_time timestamptz(3),
  add column to_time timestamptz(3),
  add column detail text,
  alter column cutoff drop not null;

update archive_runs set to_time = cutoff;

comment on column archive_runs.cutoff is 'of archive: what opens before it is due';
comment on column archive_runs.from_time is 'the window that was asked for; null: from the first candle on';
comment on column archive_runs.to_time is 'exclusive';
comment on column archive_runs.detail is 'what failed, or why work remains';

alter table archive_batches
  add column batch_id uuid not null default gen_random_uuid() unique,
  add column direction text not null default 'archive' check (direction in ('archive', 'restore')),
  add column duration_ms int,
  add column equal_rows int not null default 0,
  add column conflict_rows int not null default 0,
  add column conflicts jsonb,
  add column dropped_rows int not null default 0,
  add column dropped_hash numeric(38, 0) not null default 0,
  add column replaced_hash numeric(38, 0) not null default 0,
  alter column content_hash drop not null;

-- Those of before were made in another way.
update archive_batches set content_hash = null;

create index on archive_batches (run_id);

comment on column archive_batches.batch_id is
  'made up by the script, so that it can look up whether a COMMIT that nobody answered happened';
comment on column archive_batches.content_hash is
  'sum of row_hash (sql/archive/columns.sql) over the moved rows, in any order; null: from before it was that. '
  'Of each series, the sum over its archive batches of content_hash - replaced_hash, less the sum over its '
  'restore batches of content_hash + dropped_hash, is the same sum over all of its rows in klines_archive';
comment on column archive_batches.duration_ms is 'without the COMMIT';
comment on column archive_batches.equal_rows is 'both tiers held the same candle: the copy that was to move went';
comment on column archive_batches.conflict_rows is
  'the tiers held different candles: the one with the newer updated_at stayed';
comment on column archive_batches.conflicts is
  'of each conflict: open_time, kept (source or target), and both rows. Source is where the batch moved from';
comment on column archive_batches.dropped_rows is 'rows of the source that went without moving';
comment on column archive_batches.dropped_hash is 'the sum of their hashes, as in content_hash';
comment on column archive_batches.replaced_hash is 'the same sum over the rows of the target that went for a newer one';
