-- Takes the instrument's lock for this transaction, or reports that another session has it
-- Takes an advisory lock, without waiting. Can be run again.

select pg_try_advisory_xact_lock(lock_class(:'lock_class'::int), :'instrument_id'::int) as taken;
