-- slot_of and next_slot: the grid on which the candles of each interval open
-- Locks nothing that exists. Runs once.
-- Mondays for 1w, every third day from 1970-01-02 for 3d, the first of the month for 1M; all in UTC.
-- Where the interval is a literal, the planner keeps one branch and puts it into the query. It does so
-- only with a function that promises no more than its body: timestamptz + interval is stable.

create function slot_of(width text, open_time timestamptz) returns timestamptz
language sql immutable parallel safe
return case width
  when '1s' then date_bin('1 second', open_time, timestamptz '1970-01-01 00:00Z')
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
  when '1s' then slot + interval '1 second'
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

comment on function slot_of is 'the slot that contains a time. A slot is a regular open time of an interval, in UTC; all slots of an interval form its grid. width is an interval such as 1h';
comment on function next_slot is 'the slot after the given slot, such as 05:00 after 04:00 for 1h; width is an interval such as 1h';
