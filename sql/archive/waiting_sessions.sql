-- How many sessions wait for a lock that this transaction holds
-- Locks nothing. Can be run again. A role sees other roles' sessions only with pg_read_all_stats (part
-- of pg_monitor).

select count(*)::int as waiting_sessions
from pg_stat_activity
where wait_event_type = 'Lock'
  and pg_backend_pid() = any (pg_blocking_pids(pid));
