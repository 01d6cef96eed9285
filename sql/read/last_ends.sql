-- How each script last ended, and when it last ended with 0, Unix seconds
-- Locks nothing. Can be run again. A run under way does not hide how the one before it ended.

select distinct on (verb)
  verb, exit_code,
  extract(epoch from max(finished_at) filter (where exit_code = 0) over (partition by verb))::float8 as succeeded
from runs
where finished_at is not null
order by verb, finished_at desc, id desc;
