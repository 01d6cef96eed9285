-- Whether this role sees what other roles' sessions and replicas are doing, and whether there are any
-- Locks nothing. Can be run again. Without the privilege PostgreSQL shows the rows and hides what is in them.

select
  current_user as role,
  pg_has_role('pg_read_all_stats', 'usage') as sees_others,
  (select count(*)::int from pg_stat_replication) as replicas;
