-- Whether a candle table or an archive table exists
-- Locks nothing. Reading pg_class makes the server see what was committed since; to_regclass alone
-- would answer from what it knew before.

select exists (select from pg_class where oid = to_regclass(format('%I', :'name'::text))) as there;
