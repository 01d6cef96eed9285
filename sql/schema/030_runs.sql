-- runs: which scripts worked on this database, when, and how they ended
-- Locks nothing that exists. Runs once. Runs of more than 30 days ago are deleted by later ones.

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

comment on column runs.verb is 'the name of the script, such as update-klines';
comment on column runs.finished_at is 'null: still running, or killed';
comment on column runs.outcome is 'done, failed, findings, later, stopped, …: the exit code in a word';
comment on column runs.counts is 'the numbers of its JSON result, and the lengths of its lists';
