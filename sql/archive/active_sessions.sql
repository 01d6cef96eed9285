-- How many sessions of other programs use the database now, or did a moment ago
-- Locks nothing. Can be run again. A role sees what other roles' sessions do only with
-- pg_read_all_stats (part of pg_monitor).

select count(*)::int as active_sessions
from pg_stat_activity
where backend_type = 'client backend'
  and datname = current_database()
  and application_name not like 'klinekeep %'
  and application_name <> current_setting('application_name')
  and (state = 'active' or state_change > clock_timestamp() - :'active_within'::interval);
