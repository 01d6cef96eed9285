-- restored_ranges: what was brought back from the archive, and until when archive leaves it alone
-- Locks nothing that exists. Runs once.

create table restored_ranges (
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null check (to_time > from_time),
  keep_until timestamptz(3) not null,
  run_id bigint not null references archive_runs,
  restored_at timestamptz not null default now(),
  primary key (instrument_id, interval, from_time, to_time)
);

comment on table restored_ranges is 'delete a row to let the next archive run take its range';
comment on column restored_ranges.to_time is 'exclusive';
