-- Takes the instrument's lock for this transaction, or says that another session has it
-- Waits for nobody.

select pg_try_advisory_xact_lock(lock_class(:'lock_class'::int), :'instrument_id'::int) as taken;
