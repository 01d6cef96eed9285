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

comment on table runs is 'the runs of all verbs on this database; later runs delete those that are over 30 days old';
comment on column runs.id is 'in the order in which they started';
comment on column runs.verb is 'as a person types it, such as update';
comment on column runs.host is 'the machine that it ran on';
comment on column runs.pid is 'its process there';
comment on column runs.started_at is 'when it started';
comment on column runs.finished_at is 'when it finished; null: still running, or killed';
comment on column runs.exit_code is 'as the process returned it';
comment on column runs.outcome is 'the exit code in a word: done, failed, findings, later, stopped, …';
comment on column runs.message is 'what failed';
comment on column runs.counts is 'the numbers of its JSON result, and the lengths of its lists';

create table exchange_pauses (
  market text primary key check (market in ('spot', 'usdm')),
  until_time timestamptz not null,
  is_ban boolean not null,
  answered_at timestamptz not null default now()
);

comment on table exchange_pauses is 'until when no run may send requests, because Binance answered 429, or 418 (a ban)';
comment on column exchange_pauses.market is 'spot or usdm';
comment on column exchange_pauses.until_time is 'by the clock of this database';
comment on column exchange_pauses.is_ban is 'Binance answered 418';
comment on column exchange_pauses.answered_at is 'when Binance last answered so';
