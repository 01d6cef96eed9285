-- Records that no run may send requests to one market for a while
-- Locks the market's row. Can be run again: a pause gets longer, never shorter.

insert into exchange_pauses as p (market, until_time, is_ban)
values (:'market', now() + :'pause_ms'::float8 * interval '1 millisecond', :'is_ban'::boolean)
on conflict (market) do update set
  until_time = greatest(p.until_time, excluded.until_time),
  is_ban = excluded.is_ban or (p.is_ban and p.until_time > now()),
  answered_at = now();
