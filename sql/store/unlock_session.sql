-- Releases the instrument's lock
-- Locks nothing. Can be run again: then PostgreSQL warns that the session does not hold it.

select pg_advisory_unlock(lock_class(:'lock_class'::int), :'instrument_id'::int);
