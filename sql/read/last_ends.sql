-- The exit code of each verb's last finished run, and when a run last finished with 0, in Unix seconds
-- Locks nothing. Can be run again. A run that has not finished does not hide the one before it.

select distinct on (verb)
  verb, exit_code,
  extract(epoch from max(finished_at) filter (where exit_code = 0) over (partition by verb))::float8 as succeeded
from runs
where finished_at is not null
order by verb, finished_at desc, id desc;
