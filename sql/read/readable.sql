-- Which of the tables that status reads this role may read
-- Locks nothing. Can be run again.

select name, coalesce(has_table_privilege(to_regclass(name), 'select'), false) as may
from unnest(
  array['instruments', 'klines', 'klines_archive', 'all_klines', 'confirmed_gaps', 'runs']
) as name;
