-- What a move has to wait for: replicas that lag, and sessions that queue for its two tables
-- Locks nothing. Can be run again. A role sees the lag only with pg_read_all_stats (part of pg_monitor).

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
  ) as queued_sessions;
