-- Candles of one series that both tiers hold
-- Locks nothing. Can be run again.

select k.open_time, 'in klines and in klines_archive' as detail, count(*) over ()::float8 as found
from klines k
join klines_archive a on
  a.instrument_id = :'instrument_id'::int
  and a.interval = :'interval'
  and a.open_time = k.open_time
where k.instrument_id = :'instrument_id'::int
  and k.interval = :'interval'
order by k.open_time
limit :'shown'::int;
