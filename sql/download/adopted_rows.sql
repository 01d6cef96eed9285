-- The candles of another program's table as lines of Binance's files, oldest first
-- Locks nothing. Can be run again. `line` combines the twelve fields, `filter` selects the series. Rows of the same
-- time are in the order of `newest`, so that the last of them is the one that counts.

select (:open_time)::text as open_time_text, concat_ws(',', :line) as line
from :table
where :filter
order by :order, :newest;
