-- Writes down that a series is up to date now
-- Locks its row in series_checks. Can be run again.

insert into series_checks (instrument_id, interval, checked_at)
values (:'instrument_id', :'interval', now())
on conflict (instrument_id, interval) do update set checked_at = excluded.checked_at;
