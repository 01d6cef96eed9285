-- Candles of one series that were stored before they closed
-- Locks nothing. Can be run again.

select open_time, format('closes %s', close_time) as detail, count(*) over ()::float8 as found
from (
  select open_time, close_time
  from klines
  where instrument_id = :'instrument_id'::int and interval = :'interval'
  union all
  select open_time, close_time
  from klines_archive
  where instrument_id = :'instrument_id'::int and interval = :'interval'
) as stored
where close_time >= now()
order by open_time
limit :'shown'::int;
