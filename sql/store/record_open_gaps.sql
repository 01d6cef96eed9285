-- Records which gaps of a series were requested now, and deletes those that were looked at and have candles
-- Locks the rows it writes. Can be run again. A gap whose ends have changed is another gap: nothing is proven of it.

with gaps as (
  select from_time, to_time
  from jsonb_to_recordset(:'gaps'::jsonb) as v (from_time timestamptz, to_time timestamptz)
),
examined as (
  select from_time, to_time
  from jsonb_to_recordset(:'examined'::jsonb) as v (from_time timestamptz, to_time timestamptz)
),
gone as (
  delete from open_gaps g
  where g.instrument_id = :'instrument_id'::int
    and g.interval = :'interval'
    and not exists (select from gaps where gaps.from_time = g.from_time)
    and (
      exists (select from gaps where gaps.from_time < g.to_time and gaps.to_time > g.from_time)
      or exists (select from examined e where e.from_time <= g.from_time and e.to_time >= g.to_time)
    )
)
insert into open_gaps as gap (instrument_id, interval, from_time, to_time)
select :'instrument_id'::int, :'interval', from_time, to_time
from gaps
on conflict (instrument_id, interval, from_time) do update set
  to_time = excluded.to_time,
  asked_at = excluded.asked_at,
  shown_at = case
    when gap.to_time = excluded.to_time and gap.shown_at <= excluded.asked_at then gap.shown_at
  end
returning
  from_time, to_time,
  shown_at is not null as is_shown,
  coalesce(shown_at <= now() - interval '5 minutes', false) as may_be_shown_again;
