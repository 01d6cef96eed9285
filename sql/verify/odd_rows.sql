-- The odd candles of one tier, on the days that have some: which checks they fail, and why
-- Locks nothing. Can be run again. A candle is listed once for each check that it fails; the first ones of
-- each check are listed, all of them counted. is_published: the exchange was asked again and sent the same.
-- A candle that closes early before a hole is part of the outage, not odd.

with days as (
  select to_timestamp(v::float8 / 1000) as day
  from unnest(string_to_array(:'days', ',')) as v
),
looked_at as (
  select
    k.*,
    slot_of(:'interval', k.open_time) as slot,
    next_slot(:'interval', slot_of(:'interval', k.open_time)) as slot_end,
    least(k.open_price, k.high_price, k.low_price, k.close_price) as least_price,
    least(k.volume, k.quote_volume, k.taker_buy_volume, k.taker_buy_quote_volume, k.trades_count) as least_volume,
    'NaN' in (
      k.open_price, k.high_price, k.low_price, k.close_price,
      k.volume, k.quote_volume, k.taker_buy_volume, k.taker_buy_quote_volume
    ) as is_nan
  from days d
  cross join lateral (
    select *
    from :"tier" t
    where t.instrument_id = :'instrument_id'::int
      and t.interval = :'interval'
      and t.open_time >= greatest(d.day, :'from_time')
      and t.open_time < least(d.day + interval '24 hours', :'to_time')
      -- A sound candle may not be closed yet.
      and (t.close_time >= now() or not is_sound(:'interval', :candle_columns))
    -- Keeps the planner to one look into the index a day.
    offset 0
  ) as k
),
odd as (
  select l.*, c.check_name, c.detail
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
  where c.detail is not null
),
hashed as (
  select
    check_name, open_time, slot, slot_end, close_time, detail,
    hash_record_extended(row(:candle_values), 0) as row_hash
  from odd
),
kept as (
  select h.check_name, h.open_time, h.detail, h.row_hash, p.row_hash is not null as is_published
  from hashed h
  left join published_oddities p on
    p.instrument_id = :'instrument_id'::int
    and p.interval = :'interval'
    and p.open_time = h.open_time
    and p.check_name = h.check_name
    and p.row_hash = h.row_hash
  where not (
    h.check_name = 'close-time'
    and h.close_time between h.slot and h.slot_end
    and not exists (
      select from both_tiers n
      where n.instrument_id = :'instrument_id'::int and n.interval = :'interval'
        and n.open_time >= h.slot_end and n.open_time < next_slot(:'interval', h.slot_end)
    )
    and exists (
      select from both_tiers n
      where n.instrument_id = :'instrument_id'::int and n.interval = :'interval' and n.open_time >= h.slot_end
    )
  )
),
numbered as (
  select
    *,
    count(*) over (partition by check_name, is_published) as found,
    row_number() over (partition by check_name, is_published order by open_time) as number
  from kept
)
select check_name, open_time, detail, row_hash::text, is_published, found::int
from numbered
where number <= :'shown'::int
order by check_name, open_time;
