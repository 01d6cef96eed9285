-- What verify found out and repaired: candles published odd, repairs, and the archive's content after them
-- Locks nothing that exists. Runs once.

create table published_oddities (
  instrument_id int not null references instruments,
  interval text not null,
  open_time timestamptz(3) not null,
  check_name text not null,
  row_hash bigint not null,
  asked_at timestamptz not null default now(),
  primary key (instrument_id, interval, open_time, check_name)
);

comment on table published_oddities is
  'candles that fail one of verify''s checks but that Binance sent unchanged when verify --repair requested them again; verify marks them "as published", with severity info';
comment on column published_oddities.instrument_id is 'instruments.id';
comment on column published_oddities.interval is 'klines.interval';
comment on column published_oddities.open_time is 'klines.open_time; for doubled-slot, the slot that has several candles';
comment on column published_oddities.check_name is 'the check that the candle fails';
comment on column published_oddities.row_hash is 'hash of the values that were checked; if they change, verify ignores this row';
comment on column published_oddities.asked_at is 'when Binance sent it again';

create table repairs (
  id bigint generated always as identity primary key,
  instrument_id int not null references instruments,
  interval text not null,
  open_time timestamptz(3) not null,
  tier text not null check (tier in ('hot', 'archive')),
  was jsonb,
  was_source text,
  offered jsonb,
  source text not null,
  became jsonb,
  decided_by text check (decided_by = 'rest'),
  repaired_at timestamptz not null default now()
);

create index on repairs (instrument_id, interval, open_time);
create index on repairs (repaired_at);

comment on table repairs is
  'every stored candle that changed, and every candle for which two sources had different values; written in the transaction that stores the decision';
comment on column repairs.id is 'in the order of the decisions';
comment on column repairs.instrument_id is 'instruments.id';
comment on column repairs.interval is 'klines.interval';
comment on column repairs.open_time is 'klines.open_time';
comment on column repairs.tier is 'hot: in klines; archive: in klines_archive';
comment on column repairs.was is 'the values that were stored; null: there was no candle';
comment on column repairs.was_source is 'where they came from: rest, or the name of a bulk file; null: unknown';
comment on column repairs.offered is 'the values that differ from them; null: verify --repair deleted the candle';
comment on column repairs.source is 'where those came from: rest, or the name of a bulk file';
comment on column repairs.became is 'the values stored since then; the same as was: the stored candle stayed; null: it was deleted';
comment on column repairs.decided_by is 'rest: the values that REST sent were stored or were stored already; null: REST had no such candle, or was not asked';
comment on column repairs.repaired_at is 'when this was decided';

create function candle_source(instrument int, width text, at_time timestamptz, stored_at timestamptz) returns text
language sql stable parallel safe
return (
  select case
    when max(f.loaded_at) is null or max(f.loaded_at) < stored_at then 'rest'
    else min(f.name) filter (where f.loaded_at = stored_at)
  end
  from loaded_files f
  where f.instrument_id = instrument
    and f.interval = width
    and f.from_time <= at_time
    and f.to_time > at_time
);

comment on function candle_source is
  'where a stored candle came from, by its updated_at: a file that was recorded in the same transaction, or rest; null: unknown, since a file of that time was loaded again later';

create function differing_values(stored jsonb, other jsonb) returns text
language sql stable parallel safe
return (
  select string_agg(
    format(
      '%s %s / %s',
      key,
      case jsonb_typeof(s.value) when 'number' then trim_scale(s.value::numeric)::text else s.value #>> '{}' end,
      case jsonb_typeof(o.value) when 'number' then trim_scale(o.value::numeric)::text else o.value #>> '{}' end
    ),
    ', '
  )
  from jsonb_each(stored) s
  join jsonb_each(other) o using (key)
  where s.value <> o.value
);

comment on function differing_values is 'the columns in which two candles of repairs differ, such as "volume 12.5 / 13": the stored value, then the other one';

create table archive_checkpoints (
  id bigint generated always as identity primary key,
  instrument_id int not null references instruments,
  interval text not null,
  from_time timestamptz(3) not null,
  to_time timestamptz(3) not null check (to_time > from_time),
  rows int not null,
  content_hash numeric(38, 0) not null,
  recorded_at timestamptz not null default now()
);

create index on archive_checkpoints (instrument_id, interval, from_time);

comment on table archive_checkpoints is
  'count and hash of a span of the archive tier after a repair; verify --deep uses them instead of the earlier archive_batches of that span';
comment on column archive_checkpoints.id is 'in the order in which they were written';
comment on column archive_checkpoints.instrument_id is 'instruments.id';
comment on column archive_checkpoints.interval is 'klines.interval';
comment on column archive_checkpoints.from_time is 'start of the span';
comment on column archive_checkpoints.to_time is 'end of the span, exclusive';
comment on column archive_checkpoints.rows is 'number of candles in the span';
comment on column archive_checkpoints.content_hash is 'sum of row_hash over the candles in the span, as in archive_batches';
comment on column archive_checkpoints.recorded_at is 'when it was written';

-- The offset keeps the planner to one look into the index a day.
create function candles_on_days(instrument int, width text, days text, from_time timestamptz, to_time timestamptz)
returns setof both_tiers
language sql stable parallel safe
begin atomic
  select k.*
  from (
    select to_timestamp(v::float8 / 1000) as start
    from unnest(string_to_array(days, ',')) as v
  ) as day
  cross join lateral (
    select *
    from stored_candles(
      instrument, width, greatest(day.start, from_time), least(day.start + interval '24 hours', to_time)
    )
    offset 0
  ) as k;
end;

comment on function candles_on_days is
  'the candles of one series that open in a range and on the given UTC days; days: the starts of the days in Unix milliseconds, comma-separated';
