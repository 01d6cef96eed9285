-- Candles of one series that are not what the exchange just sent, field by field
-- Locks nothing. Can be run again. Compares the open times that were picked with the staged answer.

with stored as (
  select p.open_time, k.*
  from (
    select to_timestamp(v::float8 / 1000) as open_time
    from unnest(string_to_array(:'picks', ',')) as v
  ) as p
  cross join lateral (
    select close_time, open_price, high_price, low_price, close_price,
      volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
    from klines
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = p.open_time
    union all
    select close_time, open_price, high_price, low_price, close_price,
      volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
    from klines_archive
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = p.open_time
  ) as k
),
compared as (
  select
    k.open_time,
    case when s.open_time is null then 'not at the exchange' else concat_ws(
      ', ',
      case when k.close_time <> s.close_time
        then format('close time %s, exchange %s', k.close_time at time zone 'UTC', s.close_time at time zone 'UTC') end,
      case when k.open_price <> s.open_price
        then format('open %s, exchange %s', trim_scale(k.open_price), trim_scale(s.open_price)) end,
      case when k.high_price <> s.high_price
        then format('high %s, exchange %s', trim_scale(k.high_price), trim_scale(s.high_price)) end,
      case when k.low_price <> s.low_price
        then format('low %s, exchange %s', trim_scale(k.low_price), trim_scale(s.low_price)) end,
      case when k.close_price <> s.close_price
        then format('close %s, exchange %s', trim_scale(k.close_price), trim_scale(s.close_price)) end,
      case when k.volume <> s.volume
        then format('volume %s, exchange %s', trim_scale(k.volume), trim_scale(s.volume)) end,
      case when k.quote_volume <> s.quote_volume
        then format('quote volume %s, exchange %s', trim_scale(k.quote_volume), trim_scale(s.quote_volume)) end,
      case when k.trades_count <> s.trades_count
        then format('trades %s, exchange %s', k.trades_count, s.trades_count) end,
      case when k.taker_buy_volume <> s.taker_buy_volume
        then format('taker volume %s, exchange %s', trim_scale(k.taker_buy_volume), trim_scale(s.taker_buy_volume)) end,
      case when k.taker_buy_quote_volume <> s.taker_buy_quote_volume
        then format(
          'taker quote volume %s, exchange %s', trim_scale(k.taker_buy_quote_volume), trim_scale(s.taker_buy_quote_volume)
        ) end
    ) end as detail
  from stored k
  left join staged_klines s on s.open_time = k.open_time
)
select
  c.open_time, c.detail,
  coalesce(
    (
      select r.source
      from repairs r
      where r.instrument_id = :'instrument_id'::int and r.interval = :'interval'
        and r.open_time = c.open_time and r.became is not null
      order by r.id desc
      limit 1
    ),
    (
      select f.name
      from loaded_files f
      where f.instrument_id = :'instrument_id'::int and f.interval = :'interval'
        and f.from_time <= c.open_time and f.to_time > c.open_time
      order by f.loaded_at desc
      limit 1
    ),
    'rest'
  ) as source
from compared c
where c.detail <> ''
order by c.open_time;
