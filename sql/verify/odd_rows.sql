-- The odd candles of one tier, on the days that have some: which checks they fail, and why
-- Locks nothing. Can be run again. A candle is listed once for each check that it fails; the first ones of
-- each check are listed, all of them counted. is_published: the exchange was asked again and sent the same.
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
  from (
    select to_timestamp(v::float8 / 1000) as start
    from unnest(string_to_array(:'days', ',')) as v
  ) as day
  cross join lateral (
    select *
    from :"tier"
    where instrument_id = :'instrument_id'::int
      and interval = :'interval'
      and open_time >= greatest(day.start, :'from_time')
      and open_time < least(day.start + interval '24 hours', :'to_time')
      -- A sound candle may not be closed yet.
      and (close_time >= now() or not is_sound(:'interval', :candle_columns))
    -- Keeps the planner to one look into the index a day.
    offset 0
  ) as k
),
odd as (
  select c.check_name, l.open_time, c.detail, l.row_hash, p.row_hash is not null as is_published
  from looked_at l
  cross join lateral (
    values
      (
        'not-closed',
        case when close_time >= now() then format('closes %s', to_char(close_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI')) end
      ),
      (
        'off-grid',
        case when open_time <> slot
          then format('opens %s, wanted %s', to_char(open_time at time zone 'UTC', 'HH24:MI:SS.MS'), to_char(slot at time zone 'UTC', 'YYYY-MM-DD HH24:MI'))
        end
      ),
      (
        'close-time',
        case when close_time < now()
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
  left join published_oddities p on
    p.instrument_id = :'instrument_id'::int
    and p.interval = :'interval'
    and p.open_time = l.open_time
    and p.check_name = c.check_name
    and p.row_hash = l.row_hash
  where c.detail is not null
    and not (
      c.check_name = 'close-time'
      and l.close_time between l.slot and l.slot_end
      and not exists (
        select from stored_candles(:'instrument_id', :'interval', l.slot_end, next_slot(:'interval', l.slot_end))
      )
      and exists (select from stored_candles(:'instrument_id', :'interval', l.slot_end, 'infinity'))
    )
),
numbered as (
  select
    *,
    count(*) over (partition by check_name, is_published) as found,
    row_number() over (partition by check_name, is_published order by open_time) as number
  from odd
)
select check_name, open_time, detail, row_hash::text, is_published, found::int
from numbered
where number <= :'shown'::int
order by check_name, open_time;
