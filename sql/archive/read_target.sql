-- What the target of a move already holds in one window
-- Locks nothing. Can be run again.

select count(*)::int as row_count, coalesce(sum(:row_hash), 0)::text as content_hash
from :"target" t
where instrument_id = :'instrument_id'::int
  and interval = :'interval'
  and open_time >= :'from_time'
  and open_time < :'to_time';
