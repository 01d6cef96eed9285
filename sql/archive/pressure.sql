-- Whether others suffer from a move, or would: replicas that lag, sessions that wait for locks, readers
-- Locks nothing. Can be run again. `pids` are the server processes that move. A role sees what sessions
-- of other roles do only with pg_read_all_stats (part of pg_monitor).

select
  (select coalesce(max(extract(epoch from replay_lag)) * 1000, 0)::float8 from pg_stat_replication) as lag_ms,
  (
    select count(*)::int
    from pg_stat_activity a
    where a.wait_event_type = 'Lock'
      and a.pid <> all (string_to_array(:'pids', ',')::int[])
      and pg_blocking_pids(a.pid) && string_to_array(:'pids', ',')::int[]
  ) as blocked_sessions,
  (
    select count(*)::int
    from pg_locks l
    where not l.granted
      and l.pid <> all (string_to_array(:'pids', ',')::int[])
      and l.locktype = 'relation'
      and l.database = (select oid from pg_database where datname = current_database())
      and l.relation in (to_regclass(format('%I', :'source'::text)), to_regclass(format('%I', :'target'::text)))
  ) as queued_sessions,
  (
    select count(*)::int
    from pg_stat_activity a
    where a.backend_type = 'client backend'
      and a.datname = current_database()
      and a.application_name not like 'klinekeep %'
      and a.application_name <> current_setting('application_name')
      and (a.state = 'active' or a.state_change > clock_timestamp() - :'active_within'::interval)
  ) as active_sessions;
