-- published_oddities: candles that look wrong and that the exchange, asked again, sent just so
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

comment on table published_oddities is 'verify reports these as published, for as long as the candle has the same content';
comment on column published_oddities.row_hash is 'hash_record_extended over what the check looked at';

-- The grid on which candles open: Mondays for 1w, from 1970-01-02 for 3d, the 1st for 1M; in UTC.
-- With a literal width the planner is left with one branch, inside the query; for that a function
-- must not promise more than its body does, and timestamptz + interval is only stable.

create function slot_of(width text, open_time timestamptz) returns timestamptz
language sql immutable parallel safe
return case width
  when '1m' then date_bin('1 minute', open_time, timestamptz '1970-01-01 00:00Z')
  when '3m' then date_bin('3 minutes', open_time, timestamptz '1970-01-01 00:00Z')
  when '5m' then date_bin('5 minutes', open_time, timestamptz '1970-01-01 00:00Z')
  when '15m' then date_bin('15 minutes', open_time, timestamptz '1970-01-01 00:00Z')
  when '30m' then date_bin('30 minutes', open_time, timestamptz '1970-01-01 00:00Z')
  when '1h' then date_bin('1 hour', open_time, timestamptz '1970-01-01 00:00Z')
  when '2h' then date_bin('2 hours', open_time, timestamptz '1970-01-01 00:00Z')
  when '4h' then date_bin('4 hours', open_time, timestamptz '1970-01-01 00:00Z')
  when '6h' then date_bin('6 hours', open_time, timestamptz '1970-01-01 00:00Z')
  when '8h' then date_bin('8 hours', open_time, timestamptz '1970-01-01 00:00Z')
  when '12h' then date_bin('12 hours', open_time, timestamptz '1970-01-01 00:00Z')
  when '1d' then date_bin('24 hours', open_time, timestamptz '1970-01-01 00:00Z')
  when '3d' then date_bin('72 hours', open_time, timestamptz '1970-01-02 00:00Z')
  when '1w' then date_bin('168 hours', open_time, timestamptz '1970-01-05 00:00Z')
  when '1M' then date_trunc('month', open_time at time zone 'UTC') at time zone 'UTC'
end;

create function next_slot(width text, slot timestamptz) returns timestamptz
language sql stable parallel safe
return case width
  when '1m' then slot + interval '1 minute'
  when '3m' then slot + interval '3 minutes'
  when '5m' then slot + interval '5 minutes'
  when '15m' then slot + interval '15 minutes'
  when '30m' then slot + interval '30 minutes'
  when '1h' then slot + interval '1 hour'
  when '2h' then slot + interval '2 hours'
  when '4h' then slot + interval '4 hours'
  when '6h' then slot + interval '6 hours'
  when '8h' then slot + interval '8 hours'
  when '12h' then slot + interval '12 hours'
  when '1d' then slot + interval '24 hours'
  when '3d' then slot + interval '72 hours'
  when '1w' then slot + interval '168 hours'
  when '1M' then (slot at time zone 'UTC' + interval '1 month') at time zone 'UTC'
end;

comment on function slot_of is 'the open time of the grid at or before a time';
comment on function next_slot is 'the open time of the grid that follows one of the grid';
