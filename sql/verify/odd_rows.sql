-- The odd candles of one series, on the days that have some: which checks they fail, and why
-- Locks nothing. Can be run again. A candle is listed once for each check that it fails. The clock `now` decides which
-- candles have closed.
-- A candle that closes early before a hole is part of the outage, not odd.
-- A new check of one candle must also make is_sound() false (sql/schema): closed sound candles are not looked at.

with looked_at as (
  select
    k.*,
    slot_of(:'interval', open_time) as slot,
    next_slot(:'interval', slot_of(:'interval', open_time)) as slot_end,
    least(open_price, high_price, low_price, close_price) as least_price,
    least(volume, quote_volume, taker_buy_volume, taker_buy_quote_volume, trades_count) as least_volume,
    'NaN' in (
      open_price, high_price, low_price, close_price,
      volume, quote_volume, taker_buy_volume, taker_buy_quote_volume
    ) as is_nan,
    hash_record_extended(row(:candle_values), 0) as row_hash
  from candles_on_days(:'instrument_id', :'interval', :'days', :'from_time', :'to_time') as k
  -- A sound candle may not be closed yet.
  where close_time >= :'now'::timestamptz or not is_sound(:'interval', :candle_columns)
)
select c.check_name, l.open_time, c.detail, l.row_hash
from looked_at l
cross join lateral (
  values
    (
      'not-closed',
      case when close_time >= :'now'::timestamptz then format('closes %s', to_char(close_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI')) end
    ),
    (
      'off-grid',
      case when open_time <> slot
        then format('opens %s, wanted %s', to_char(open_time at time zone 'UTC', 'HH24:MI:SS.MS'), to_char(slot at time zone 'UTC', 'YYYY-MM-DD HH24:MI'))
      end
    ),
    (
      'close-time',
      case when close_time < :'now'::timestamptz
        and close_time <> slot_end - interval '1 millisecond'
        and close_time <> next_slot(:'interval', open_time) - interval '1 millisecond'
        then format('closes %s', to_char(close_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS'))
      end
    ),
    ('not-a-number', case when is_nan then 'NaN among its values' end),
    (
      'price-not-positive',
      case when not is_nan and least_price <= 0 then format('lowest price %s', least_price) end
    ),
    (
      'impossible-ohlc',
      case when not is_nan and least_price > 0
        and (high_price < greatest(open_price, low_price, close_price) or low_price > least(open_price, close_price))
        then format(
          'open %s high %s low %s close %s',
          trim_scale(open_price), trim_scale(high_price), trim_scale(low_price), trim_scale(close_price)
        )
      end
    ),
    (
      'negative-volume',
      case when not is_nan and least_volume < 0 then format('lowest volume or count %s', trim_scale(least_volume)) end
    ),
    (
      'taker-above-total',
      case when not is_nan and least_volume >= 0
        and (taker_buy_volume > volume or taker_buy_quote_volume > quote_volume)
        then format(
          'takers bought %s of %s, for %s of %s',
          trim_scale(taker_buy_volume), trim_scale(volume), trim_scale(taker_buy_quote_volume), trim_scale(quote_volume)
        )
      end
    ),
    (
      'no-volume',
      case when volume = 0 and trades_count > 0 then format('%s trades, no volume', trades_count) end
    )
) as c (check_name, detail)
where c.detail is not null
  and not (
    c.check_name = 'close-time'
    and l.close_time between l.slot and l.slot_end
    and not exists (
      select from stored_candles(:'instrument_id', :'interval', l.slot_end, next_slot(:'interval', l.slot_end))
    )
    and exists (select from stored_candles(:'instrument_id', :'interval', l.slot_end, 'infinity'))
  )
