-- Candles of one series that differ from what the exchange just sent, field by field
-- Locks nothing. Can be run again. Compares the open times that were picked with the staged answer.

with picked as (
  select to_timestamp(v::float8 / 1000) as open_time
  from unnest(string_to_array(:'picks', ',')) as v
),
compared as (
  select
    stored.open_time,
    case when s.open_time is null then 'not at the exchange' else concat_ws(
      ', ',
      case when stored.close_time <> s.close_time
        then format('close time %s, exchange %s', stored.close_time at time zone 'UTC', s.close_time at time zone 'UTC')
      end,
      difference('open', stored.open_price, 'exchange', s.open_price),
      difference('high', stored.high_price, 'exchange', s.high_price),
      difference('low', stored.low_price, 'exchange', s.low_price),
      difference('close', stored.close_price, 'exchange', s.close_price),
      difference('volume', stored.volume, 'exchange', s.volume),
      difference('quote volume', stored.quote_volume, 'exchange', s.quote_volume),
      difference('trades', stored.trades_count, 'exchange', s.trades_count),
      difference('taker volume', stored.taker_buy_volume, 'exchange', s.taker_buy_volume),
      difference('taker quote volume', stored.taker_buy_quote_volume, 'exchange', s.taker_buy_quote_volume)
    ) end as detail
  from picked p
  cross join lateral (
    select *
    from both_tiers
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = p.open_time
    offset 0
  ) as stored
  left join staged_klines s on s.open_time = stored.open_time
)
select
  'differs' as check_name,
  c.open_time,
  format('%s (from %s)', c.detail, coalesce(
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
  )) as detail,
  null::bigint as row_hash
from compared c
where c.detail <> ''
