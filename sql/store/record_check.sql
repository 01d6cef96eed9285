-- Records that a series was up to date when the exchange was asked
-- Locks its row in series_checks. Can be run again.

insert into series_checks (instrument_id, interval, checked_at, complete_until)
values (
  :'instrument_id', :'interval', now() - :'ago_ms'::float8 * interval '1 millisecond', :'complete_until'
)
on conflict (instrument_id, interval) do update set
  checked_at = excluded.checked_at,
  complete_until = excluded.complete_until;
