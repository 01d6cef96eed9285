-- What klinekeep knows of its downloads: files, refused lines, gaps, and how up to date each series is
-- Locks nothing that exists. Runs once.

create table loaded_files (
  market text not null,
  name text not null,
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null,
  sha256 text not null,
  rows int not null,
  loaded_at timestamptz not null default now(),
  primary key (market, name)
);

create index on loaded_files (instrument_id, interval, from_time);

comment on table loaded_files is 'the bulk files that were loaded; written in the transaction that stores a file''s candles';
comment on column loaded_files.market is 'instruments.market';
comment on column loaded_files.name is 'the name of the file';
comment on column loaded_files.instrument_id is 'instruments.id';
comment on column loaded_files.interval is 'klines.interval';
comment on column loaded_files.from_time is 'the first open time that the file is for';
comment on column loaded_files.to_time is 'the end of the open times that the file is for, exclusive';
comment on column loaded_files.sha256 is 'of the file as it was loaded; Binance sometimes publishes a file again';
comment on column loaded_files.rows is 'candles in the file, also those that were stored already';
comment on column loaded_files.loaded_at is 'when it was last loaded';

create table rejected_klines (
  id bigint generated always as identity primary key,
  instrument_id int not null references instruments,
  interval text not null,
  source text not null,
  reason text not null,
  raw text not null,
  rejected_at timestamptz not null default now()
);

create unique index rejected_klines_once on rejected_klines (instrument_id, interval, md5(raw), reason);

comment on table rejected_klines is 'lines that a source sent and that are not candles';
comment on column rejected_klines.id is 'in the order in which they arrived';
comment on column rejected_klines.instrument_id is 'instruments.id';
comment on column rejected_klines.interval is 'klines.interval';
comment on column rejected_klines.source is 'rest, or the name of a file or table';
comment on column rejected_klines.reason is 'why it is not a candle';
comment on column rejected_klines.raw is 'the line as it was sent';
comment on column rejected_klines.rejected_at is 'when it was sent first';

create table confirmed_gaps (
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null check (to_time > from_time),
  asked_at timestamptz not null default now(),
  primary key (instrument_id, interval, from_time)
);

comment on table confirmed_gaps is 'spans for which the exchange has no candles; they are not requested again';
comment on column confirmed_gaps.instrument_id is 'instruments.id';
comment on column confirmed_gaps.interval is 'klines.interval';
comment on column confirmed_gaps.from_time is 'the first open time that is missing';
comment on column confirmed_gaps.to_time is 'the end of the missing open times, exclusive';
comment on column confirmed_gaps.asked_at is 'when the exchange was last asked';

create table open_gaps (
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null check (to_time > from_time),
  first_asked_at timestamptz not null default now(),
  asked_at timestamptz not null default now(),
  primary key (instrument_id, interval, from_time)
);

comment on table open_gaps is
  'spans that the exchange did not have and that are too young to be confirmed; update requests them again after growing delays of up to an hour';
comment on column open_gaps.instrument_id is 'instruments.id';
comment on column open_gaps.interval is 'klines.interval';
comment on column open_gaps.from_time is 'the first open time that is missing';
comment on column open_gaps.to_time is 'the end of the missing open times, exclusive';
comment on column open_gaps.first_asked_at is 'when the exchange was first asked';
comment on column open_gaps.asked_at is 'when the exchange was last asked';

create table series_checks (
  instrument_id int not null references instruments,
  interval text not null,
  checked_at timestamptz not null,
  complete_until timestamptz(3) not null,
  primary key (instrument_id, interval)
) with (fillfactor = 70);

comment on table series_checks is 'when each series was last known to be up to date';
comment on column series_checks.instrument_id is 'instruments.id';
comment on column series_checks.interval is 'klines.interval';
comment on column series_checks.checked_at is 'when the exchange was asked';
comment on column series_checks.complete_until is 'open time; the next update looks for missing candles from here on';
