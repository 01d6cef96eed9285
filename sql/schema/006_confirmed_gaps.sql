-- confirmed_gaps: spans for which the exchange was asked and has no candles
-- Locks nothing that exists. Runs once.

create table confirmed_gaps (
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null check (to_time > from_time),
  asked_at timestamptz not null default now(),
  primary key (instrument_id, interval, from_time)
);

comment on column confirmed_gaps.to_time is 'exclusive';
