-- What a move has to know of others: replicas that lag, sessions that queue for its two tables, and
-- sessions of other programs that use the database now or did a moment ago
-- Locks nothing. Can be run again. A role sees the lag and what other roles' sessions do only with
-- pg_read_all_stats (part of pg_monitor).

select
  (select coalesce(max(extract(epoch from replay_lag)) * 1000, 0)::float8 from pg_stat_replication) as lag_ms,
  (
    select count(*)::int
    from pg_locks l
    where not l.granted
      and l.pid <> pg_backend_pid()
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
