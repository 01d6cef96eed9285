-- Takes the instrument's lock for this transaction
-- The session holds it already, unless it was lost: then it fails with division by zero.

select 1 / pg_try_advisory_xact_lock(lock_class(:'lock_class'::int), :'instrument_id'::int)::int;
