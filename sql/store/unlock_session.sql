-- Gives the instrument's lock back
-- Can be run again: then it warns that the session does not hold it.

select pg_advisory_unlock(lock_class(:'lock_class'::int), :'instrument_id'::int);
