-- open_gaps: spans that the exchange did not have when it was asked, too young to be confirmed
-- Locks nothing that exists. Runs once.

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
  'an update leaves these alone for as long as it has asked for them already, up to an hour';
comment on column open_gaps.to_time is 'exclusive';
