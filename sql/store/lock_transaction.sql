-- Takes the instrument's lock for this transaction
-- Takes an advisory lock. Can be run again. The session holds the lock already, unless the connection was lost: then
-- this fails with division by zero.

select 1 / pg_try_advisory_xact_lock(lock_class(:'lock_class'::int), :'instrument_id'::int)::int;
