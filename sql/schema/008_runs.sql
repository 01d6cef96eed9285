-- runs, and what they share: the exchange's request limit, and the pauses that it demands
-- Locks nothing that exists. Runs once.

create table runs (
  id bigint generated always as identity primary key,
  verb text not null,
  host text not null,
  pid int not null,
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  exit_code int,
  outcome text,
  message text,
  counts jsonb
);

create index on runs (verb, started_at);

comment on table runs is 'the runs of all verbs on this database; records are deleted after 30 days';
comment on column runs.id is 'in the order in which they started';
comment on column runs.verb is 'the name of the verb, such as update';
comment on column runs.host is 'the machine that it ran on';
comment on column runs.pid is 'its process id on that machine';
comment on column runs.started_at is 'when it started';
comment on column runs.finished_at is 'when it finished; null: still running, or killed';
comment on column runs.exit_code is 'the exit code of the process';
comment on column runs.outcome is 'what the exit code means: done, failed, findings, later, stopped, …';
comment on column runs.message is 'the error message';
comment on column runs.counts is 'the numbers in its JSON result, and the length of each list in it';

create table exchange_pauses (
  market text primary key check (market in ('spot', 'usdm')),
  until_time timestamptz not null,
  is_ban boolean not null,
  answered_at timestamptz not null default now()
);

comment on table exchange_pauses is 'the time until which no run may send requests, after Binance answered 429 (too many requests) or 418 (a ban)';
comment on column exchange_pauses.market is 'spot or usdm';
comment on column exchange_pauses.until_time is 'when requests may be sent again, by the clock of this database';
comment on column exchange_pauses.is_ban is 'true after 418, false after 429';
comment on column exchange_pauses.answered_at is 'when Binance last sent such an answer';
