-- The recorded gaps of all series that overlap a range: confirmed and open ones
-- Locks nothing. Can be run again. An empty interval means all of them.

select
  g.instrument_id, g.interval, g.from_time, g.to_time, true as is_confirmed,
  null::timestamptz as first_asked_at, g.asked_at, g.shown_at, g.shown_again_at,
  g.file, f.loaded_at, g.outage
from confirmed_gaps g
join instruments i on i.id = g.instrument_id
left join loaded_files f on f.market = i.market and f.name = g.file
where :'interval' in ('', g.interval)
  and g.from_time < :'to_time'::timestamptz
  and g.to_time > :'from_time'::timestamptz
union all
select
  g.instrument_id, g.interval, g.from_time, g.to_time, false,
  g.first_asked_at, g.asked_at, g.shown_at, null, null, null, null
from open_gaps g
where :'interval' in ('', g.interval)
  and g.from_time < :'to_time'::timestamptz
  and g.to_time > :'from_time'::timestamptz
order by instrument_id, interval, from_time;
