-- Transactions that have been open for long: VACUUM cannot remove rows deleted since they began
-- Locks nothing. Can be run again.

select format(
  'process %s (%s%s) has had a transaction open since %s',
  pid, usename, ', ' || nullif(application_name, ''),
  to_char(xact_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
) as transaction
from pg_stat_activity
where pid <> pg_backend_pid()
  and (backend_xmin is not null or backend_xid is not null)
  and (datname = current_database() or backend_type = 'walsender')
  and backend_type in ('client backend', 'walsender')
  and xact_start < now() - :'older_than'::interval
union all
select format(
  'prepared transaction %L of %s has been open since %s',
  gid, owner, to_char(prepared at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
)
from pg_prepared_xacts
where database = current_database()
  and prepared < now() - :'older_than'::interval
order by transaction;
