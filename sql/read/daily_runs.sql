-- The runs of the last 24 hours, by verb and outcome
-- Locks nothing. Can be run again.

select verb, coalesce(outcome, 'unfinished') as outcome, count(*)::int as count
from runs
where started_at > now() - interval '24 hours'
group by verb, coalesce(outcome, 'unfinished')
order by verb, outcome;
