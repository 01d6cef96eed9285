-- Candles that open far from the close before them, or reach far beyond their own open and close
-- Locks nothing. Can be run again. Looks at the days whose prices lie far enough apart.

with neighbours as (
  select
    *,
    lag(close_price) over (order by open_time) as close_before,
    next_slot(:'interval', slot_of(:'interval', lag(open_time) over (order by open_time))) as follows
  from candles_on_days(:'instrument_id', :'interval', :'days', :'from_time', :'to_time')
),
jumps as (
  select
    open_time,
    case
      when slot_of(:'interval', open_time) = follows
        and greatest(open_price, close_before) > :'ratio'::numeric * least(open_price, close_before)
        then format('from %s to %s', trim_scale(close_before), trim_scale(open_price))
      when :'with_wicks'::boolean
        and (
          high_price > :'wick_ratio'::numeric * greatest(open_price, close_price)
          or low_price * :'wick_ratio'::numeric < least(open_price, close_price)
        )
        then format('reaches from %s to %s', trim_scale(low_price), trim_scale(high_price))
    end as detail
  from neighbours
  -- Another check finds values that are not prices.
  where least(open_price, low_price, close_price, close_before) > 0
    and high_price < 'NaN'
)
select 'jump' as check_name, open_time, detail, null::bigint as row_hash
from jumps
where detail is not null
