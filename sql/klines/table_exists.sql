-- Whether a candle table exists
-- Locks nothing. Reading pg_class makes the server see what was committed since; to_regclass alone
-- would answer from what it knew before.

select exists (select from pg_class where oid = to_regclass(format('%I', :'hot'::text))) as there;
