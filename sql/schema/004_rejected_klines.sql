-- rejected_klines: what a source sent that is no candle, and why it was refused
-- Locks nothing that exists. Runs once.

create table rejected_klines (
  id bigint generated always as identity primary key,
  instrument_id int not null references instruments,
  interval text not null,
  source text not null,
  reason text not null,
  raw text not null,
  rejected_at timestamptz not null default now()
);

create unique index rejected_klines_once on rejected_klines
  (instrument_id, interval, md5(raw), reason);
