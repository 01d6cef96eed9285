-- Candles of one series that are not what the 1m candles of their time add up to
-- Locks nothing. Can be run again. Compared where all of a candle's minutes are stored, or known
-- not to exist: before the listing, and where the exchange has confirmed a gap.

with minutes as (
  select open_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from klines
  where instrument_id = :'instrument_id'::int and interval = '1m'
    and open_time >= :'from_time' and open_time < :'to_time'
  union all
  select open_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from klines_archive
  where instrument_id = :'instrument_id'::int and interval = '1m'
    and open_time >= :'from_time' and open_time < :'to_time'
),
added_up as (
  select
    slot_of(:'interval', open_time) as slot,
    count(*) as minutes,
    min(open_time) as first_time,
    max(open_time) as last_time,
    max(high_price) as high_price,
    min(low_price) as low_price,
    sum(volume) as volume,
    sum(quote_volume) as quote_volume,
    sum(trades_count) as trades_count,
    sum(taker_buy_volume) as taker_buy_volume,
    sum(taker_buy_quote_volume) as taker_buy_quote_volume
  from minutes
  group by 1
),
longer as (
  select open_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from klines
  where instrument_id = :'instrument_id'::int and interval = :'interval'
    and open_time >= :'from_time' and next_slot(:'interval', open_time) <= :'to_time'
  union all
  select open_time, open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  from klines_archive
  where instrument_id = :'instrument_id'::int and interval = :'interval'
    and open_time >= :'from_time' and next_slot(:'interval', open_time) <= :'to_time'
),
paired as (
  select
    l.open_time, l.open_price, l.close_price, s.first_time, s.last_time,
    concat_ws(
      ', ',
      case when l.high_price <> s.high_price then format('high %s, 1m %s', trim_scale(l.high_price), trim_scale(s.high_price)) end,
      case when l.low_price <> s.low_price then format('low %s, 1m %s', trim_scale(l.low_price), trim_scale(s.low_price)) end,
      case when l.volume <> s.volume then format('volume %s, 1m %s', trim_scale(l.volume), trim_scale(s.volume)) end,
      case when l.quote_volume <> s.quote_volume
        then format('quote volume %s, 1m %s', trim_scale(l.quote_volume), trim_scale(s.quote_volume)) end,
      case when l.trades_count <> s.trades_count then format('trades %s, 1m %s', l.trades_count, s.trades_count) end,
      case when l.taker_buy_volume <> s.taker_buy_volume
        then format('taker volume %s, 1m %s', trim_scale(l.taker_buy_volume), trim_scale(s.taker_buy_volume)) end,
      case when l.taker_buy_quote_volume <> s.taker_buy_quote_volume
        then format('taker quote volume %s, 1m %s', trim_scale(l.taker_buy_quote_volume), trim_scale(s.taker_buy_quote_volume)) end
    ) as sums_detail
  from longer l
  join added_up s on s.slot = l.open_time
  where s.minutes = extract(
    epoch from next_slot(:'interval', l.open_time)
      - greatest(l.open_time, date_trunc('minute', nullif(:'listed_time', '')::timestamptz))
  ) / 60 - (
    select coalesce(
      sum(extract(epoch from covered.to_time - covered.from_time) / 60 - covered.minutes),
      0
    )
    from confirmed_gaps g
    -- Candles may have come since.
    cross join lateral (
      select ends.from_time, ends.to_time, count(k.open_time) as minutes
      from (
        select greatest(g.from_time, l.open_time) as from_time, least(g.to_time, next_slot(:'interval', l.open_time)) as to_time
      ) as ends
      left join all_klines k on
        k.instrument_id = :'instrument_id'::int
        and k.interval = '1m'
        and k.open_time >= ends.from_time
        and k.open_time < ends.to_time
      group by ends.from_time, ends.to_time
    ) as covered
    where g.instrument_id = :'instrument_id'::int and g.interval = '1m'
      and g.from_time < next_slot(:'interval', l.open_time) and g.to_time > l.open_time
  )
),
compared as (
  select
    p.open_time,
    concat_ws(
      ', ',
      case when p.open_price <> f.open_price then format('open %s, 1m %s', trim_scale(p.open_price), trim_scale(f.open_price)) end,
      case when p.close_price <> t.close_price then format('close %s, 1m %s', trim_scale(p.close_price), trim_scale(t.close_price)) end,
      nullif(p.sums_detail, '')
    ) as detail
  from paired p
  cross join lateral (
    select open_price
    from klines
    where instrument_id = :'instrument_id'::int and interval = '1m' and open_time = p.first_time
    union all
    select open_price
    from klines_archive
    where instrument_id = :'instrument_id'::int and interval = '1m' and open_time = p.first_time
    limit 1
  ) as f
  cross join lateral (
    select close_price
    from klines
    where instrument_id = :'instrument_id'::int and interval = '1m' and open_time = p.last_time
    union all
    select close_price
    from klines_archive
    where instrument_id = :'instrument_id'::int and interval = '1m' and open_time = p.last_time
    limit 1
  ) as t
),
hashed as (
  select open_time, detail, hashtextextended(detail, 0) as row_hash
  from compared
  where detail <> ''
),
numbered as (
  select
    h.*,
    p.row_hash is not null as is_published,
    count(*) over (partition by p.row_hash is not null) as found,
    row_number() over (partition by p.row_hash is not null order by h.open_time) as number
  from hashed h
  left join published_oddities p on
    p.instrument_id = :'instrument_id'::int
    and p.interval = :'interval'
    and p.open_time = h.open_time
    and p.check_name = 'rollup'
    and p.row_hash = h.row_hash
)
select open_time, detail, row_hash::text, is_published, found::int
from numbered
where number <= :'shown'::int
order by open_time;
