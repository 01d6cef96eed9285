-- What update-klines remembers of an instrument and of a series from one run to the next
-- Adding columns without a default takes ACCESS EXCLUSIVE on instruments for a moment. Runs once.

alter table instruments
  add column doubted_at timestamptz,
  add column ended_at timestamptz;

comment on column instruments.doubted_at is 'the exchange did not know it, or sent nothing new: the next update looks its status up';
comment on column instruments.ended_at is 'delisted, and its stored series were brought to their last candle since';

create table series_checks (
  instrument_id int not null references instruments,
  interval text not null,
  checked_at timestamptz not null,
  complete_until timestamptz(3) not null,
  primary key (instrument_id, interval)
) with (fillfactor = 70);

comment on table series_checks is 'when a series was last known to be up to date';
comment on column series_checks.complete_until is 'open time; the next update looks for what is missing from here on';

create table market_checks (
  market text primary key check (market in ('spot', 'usdm')),
  looked_up_at timestamptz not null
);

comment on table market_checks is 'when it was last looked up who is still traded';
