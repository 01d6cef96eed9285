-- How many sessions of others wait for a lock that this transaction holds
-- Locks nothing. Can be run again. A role sees other roles' sessions only with pg_read_all_stats (part
-- of pg_monitor). The second session of a move has the same application_name and does not count.

select count(*)::int as waiting_sessions
from pg_stat_activity
where wait_event_type = 'Lock'
  and application_name <> current_setting('application_name')
  and pg_backend_pid() = any (pg_blocking_pids(pid));
