-- Moves one gap from open_gaps to confirmed_gaps, with what proves it
-- Locks the rows it writes. Can be run again.

with closed as (
  delete from open_gaps
  where instrument_id = :'instrument_id'::int
    and interval = :'interval'
    and from_time < :'to_time'::timestamptz
    and to_time > :'from_time'::timestamptz
  returning from_time, to_time, shown_at
),
shown as (
  select min(shown_at) as shown_at
  from closed
  where from_time = :'from_time'::timestamptz and to_time = :'to_time'::timestamptz
)
insert into confirmed_gaps (
  instrument_id, interval, from_time, to_time, shown_at, shown_again_at, file, outage
)
select
  :'instrument_id'::int, :'interval', :'from_time'::timestamptz, :'to_time'::timestamptz,
  coalesce(shown_at, case when :'is_shown_now'::boolean then now() end),
  case when shown_at is not null and :'is_shown_now'::boolean then now() end,
  nullif(:'file', ''), nullif(:'outage', '')
from shown
on conflict (instrument_id, interval, from_time) do update set
  to_time = excluded.to_time,
  asked_at = excluded.asked_at,
  shown_at = excluded.shown_at,
  shown_again_at = excluded.shown_again_at,
  file = excluded.file,
  outage = excluded.outage;
