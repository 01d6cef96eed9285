-- Candles of one series whose high is not the highest price or whose low is not the lowest
-- Locks nothing. Can be run again.

select
  open_time,
  format('open %s high %s low %s close %s', open_price, high_price, low_price, close_price) as detail,
  count(*) over ()::float8 as found
from (
  select open_time, open_price, high_price, low_price, close_price
  from klines
  where instrument_id = :'instrument_id'::int and interval = :'interval'
  union all
  select open_time, open_price, high_price, low_price, close_price
  from klines_archive
  where instrument_id = :'instrument_id'::int and interval = :'interval'
) as stored
where high_price < greatest(open_price, low_price, close_price)
  or low_price > least(open_price, close_price)
order by open_time
limit :'shown'::int;
