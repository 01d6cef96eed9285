-- archive_runs and archive_batches: who moved which candles, and what they were
-- Locks nothing that exists. Runs once.

create table archive_runs (
  id bigint generated always as identity primary key,
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  started_by text not null default session_user,
  host text not null,
  cutoff timestamptz(3) not null,
  moved_rows bigint not null default 0,
  outcome text check (outcome in ('done', 'work remaining', 'refused', 'failed'))
);

comment on column archive_runs.outcome is 'null: still running, or killed; its batches tell how far it came';

create table archive_batches (
  id bigint generated always as identity primary key,
  run_id bigint not null references archive_runs,
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null,
  moved_rows int not null,
  content_hash numeric(38, 0) not null,
  moved_at timestamptz not null default now()
);

create index on archive_batches (instrument_id, interval, from_time);

comment on table archive_batches is 'written in the transaction that moves the rows it describes';
comment on column archive_batches.to_time is 'exclusive: the batch holds from_time <= open_time < to_time';
comment on column archive_batches.content_hash is 'sum of hash_record_extended over the moved rows, in any order';
