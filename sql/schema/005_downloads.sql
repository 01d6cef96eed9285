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
  reader_version int not null,
  loaded_at timestamptz not null default now(),
  primary key (market, name)
);

create index on loaded_files (instrument_id, interval, from_time);

comment on table loaded_files is 'the bulk files that were loaded; written in the transaction that stores a file''s candles';
comment on column loaded_files.market is 'instruments.market';
comment on column loaded_files.name is 'the name of the file';
comment on column loaded_files.instrument_id is 'instruments.id';
comment on column loaded_files.interval is 'klines.interval';
comment on column loaded_files.from_time is 'start of the time range that the file covers';
comment on column loaded_files.to_time is 'end of the time range that the file covers, exclusive';
comment on column loaded_files.sha256 is 'SHA-256 of the file when it was loaded; Binance sometimes republishes a file with different content';
comment on column loaded_files.rows is 'candles in the file, including those that were stored earlier';
comment on column loaded_files.reader_version is 'the version of klinekeep''s reader that read it; after a change of the reader, verify --files compares it again';
comment on column loaded_files.loaded_at is 'when it was last loaded';

create table compared_files (
  market text not null,
  name text not null,
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null,
  sha256 text not null,
  rows int not null,
  reader_version int not null,
  compared_at timestamptz not null default now(),
  primary key (market, name)
);

create index on compared_files (instrument_id, interval, from_time);

comment on table compared_files is
  'the bulk files that verify --files compared with the stored candles, and that do not differ from them, or differ where Binance confirmed the stored candle; they are not compared again';
comment on column compared_files.market is 'instruments.market';
comment on column compared_files.name is 'the name of the file';
comment on column compared_files.instrument_id is 'instruments.id';
comment on column compared_files.interval is 'klines.interval';
comment on column compared_files.from_time is 'start of the time range that the file covers';
comment on column compared_files.to_time is 'end of the time range that the file covers, exclusive';
comment on column compared_files.sha256 is 'SHA-256 of the file when it was compared';
comment on column compared_files.rows is 'candles of the file that were compared';
comment on column compared_files.reader_version is 'the version of klinekeep''s reader that read it; after a change of the reader, the file is compared again';
comment on column compared_files.compared_at is 'when it was compared';

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

comment on table rejected_klines is 'rows from Binance or an adopted table that are not candles';
comment on column rejected_klines.id is 'in the order in which they arrived';
comment on column rejected_klines.instrument_id is 'instruments.id';
comment on column rejected_klines.interval is 'klines.interval';
comment on column rejected_klines.source is 'rest, or the name of a file or table';
comment on column rejected_klines.reason is 'why it is not a candle';
comment on column rejected_klines.raw is 'the row as it was received';
comment on column rejected_klines.rejected_at is 'when it was first received';

create table confirmed_gaps (
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null check (to_time > from_time),
  asked_at timestamptz not null default now(),
  shown_at timestamptz,
  shown_again_at timestamptz,
  file text,
  outage text,
  primary key (instrument_id, interval, from_time)
);

comment on table confirmed_gaps is
  'spans for which two of Binance''s answers, files and known outages prove that it has no candles; they are not requested again, except by --recheck-gaps of fetch and verify';
comment on column confirmed_gaps.instrument_id is 'instruments.id';
comment on column confirmed_gaps.interval is 'klines.interval';
comment on column confirmed_gaps.from_time is 'the first open time that is missing';
comment on column confirmed_gaps.to_time is 'the end of the missing open times, exclusive';
comment on column confirmed_gaps.asked_at is 'when it was last requested from Binance';
comment on column confirmed_gaps.shown_at is
  'when a REST answer first contained the stored candles on both sides and nothing between them; null: no answer showed that';
comment on column confirmed_gaps.shown_again_at is 'when a REST answer last showed the gap again, at least five minutes later';
comment on column confirmed_gaps.file is 'a loaded bulk file that has the candles on both sides and nothing between them; its loaded_files.loaded_at is the time';
comment on column confirmed_gaps.outage is 'the known outage of the exchange in which the gap lies (lib/market/outages.ts)';

create table open_gaps (
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null check (to_time > from_time),
  first_asked_at timestamptz not null default now(),
  asked_at timestamptz not null default now(),
  shown_at timestamptz,
  primary key (instrument_id, interval, from_time)
);

comment on table open_gaps is
  'spans between stored candles for which Binance sent none and that are not confirmed yet; later runs request them again, update after delays that grow to one hour';
comment on column open_gaps.instrument_id is 'instruments.id';
comment on column open_gaps.interval is 'klines.interval';
comment on column open_gaps.from_time is 'the first open time that is missing';
comment on column open_gaps.to_time is 'the end of the missing open times, exclusive';
comment on column open_gaps.first_asked_at is 'when it was first requested from Binance';
comment on column open_gaps.asked_at is 'when it was last requested from Binance';
comment on column open_gaps.shown_at is
  'when a REST answer first contained the stored candles on both sides and nothing between them; null: no answer has shown that yet';

create table series_checks (
  instrument_id int not null references instruments,
  interval text not null,
  checked_at timestamptz not null,
  complete_until timestamptz(3) not null,
  primary key (instrument_id, interval)
) with (fillfactor = 70);

comment on table series_checks is 'when each series was last up to date';
comment on column series_checks.instrument_id is 'instruments.id';
comment on column series_checks.interval is 'klines.interval';
comment on column series_checks.checked_at is 'when Binance was queried';
comment on column series_checks.complete_until is 'open time from which the next update looks for missing candles';
