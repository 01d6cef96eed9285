-- loaded_files: which bulk files were loaded, by content
-- Locks nothing that exists. Runs once. Written in the transaction that stores the file's candles.

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

comment on column loaded_files.rows is 'candles in the file; those that were stored already count too';
