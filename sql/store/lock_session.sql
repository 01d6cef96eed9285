-- Takes the instrument's lock for this session, unless another session has it
-- Takes advisory locks. Can be run again. A helper of a run that lost the lock may still be writing: waits until its
-- transaction has ended.

with lock as materialized (
  select pg_try_advisory_lock(lock_class(:'lock_class'::int), :'instrument_id'::int) as taken
),
helpers as materialized (
  select taken, case when taken then pg_advisory_lock(lock_class(:'helper_class'::int), :'instrument_id'::int)::text end as waited
  from lock
)
select taken, waited is not null and pg_advisory_unlock(lock_class(:'helper_class'::int), :'instrument_id'::int) as is_free
from helpers;
