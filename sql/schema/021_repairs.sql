-- repairs: every candle that verify put in place of another, or took away, with what it was
-- Locks nothing that exists. Runs once. Written in the transaction that changes the candle.

create table repairs (
  id bigint generated always as identity primary key,
  instrument_id int not null references instruments,
  interval text not null,
  open_time timestamptz(3) not null,
  tier text not null check (tier in ('hot', 'archive')),
  was jsonb,
  became jsonb,
  source text not null,
  repaired_at timestamptz not null default now()
);

create index on repairs (instrument_id, interval, open_time);

comment on column repairs.was is 'null: it was not there';
comment on column repairs.became is 'null: it was taken away';
comment on column repairs.source is 'rest, or the name of a bulk file';

-- archive_seals: what a stretch of the archive held after a repair
-- archive_batches says what was moved; where a repair changed that, its seal counts instead.

create table archive_seals (
  id bigint generated always as identity primary key,
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null check (to_time > from_time),
  rows int not null,
  content_hash numeric(38, 0) not null,
  sealed_at timestamptz not null default now()
);

create index on archive_seals (instrument_id, interval, from_time);

comment on column archive_seals.to_time is 'exclusive';
comment on column archive_seals.content_hash is 'as in archive_batches';
