-- When each script last ended with 0, Unix seconds
-- Locks nothing. Can be run again.

select verb, extract(epoch from max(finished_at))::float8 as finished
from runs
where exit_code = 0
group by verb
order by verb;
