-- Candles of one series that differ from the sum of the candles of a shorter interval, `part`
-- Locks nothing. Can be run again. Compares a candle if all of its parts are stored, or known not to exist:
-- those before the listing, and those in a confirmed gap. Leaves out the candles in `reported`.

with added_up as (
  select
    slot_of(:'interval', open_time) as slot,
    count(*) as parts,
    min(open_time) as first_time,
    max(open_time) as last_time,
    max(high_price) as high_price,
    min(low_price) as low_price,
    sum(volume) as volume,
    sum(quote_volume) as quote_volume,
    sum(trades_count) as trades_count,
    sum(taker_buy_volume) as taker_buy_volume,
    sum(taker_buy_quote_volume) as taker_buy_quote_volume
  from stored_candles(:'instrument_id', :'part', :'from_time', :'to_time')
  group by 1
),
longer as (
  select *
  from stored_candles(:'instrument_id', :'interval', :'from_time', :'to_time')
  where next_slot(:'interval', open_time) <= :'to_time'
    and open_time not in (
      select to_timestamp(v::float8 / 1000)
      from unnest(string_to_array(:'reported', ',')) as v
    )
),
paired as (
  select
    l.open_time, l.open_price, l.close_price, s.first_time, s.last_time,
    concat_ws(
      ', ',
      difference('high', l.high_price, :'part', s.high_price),
      difference('low', l.low_price, :'part', s.low_price),
      difference('volume', l.volume, :'part', s.volume),
      difference('quote volume', l.quote_volume, :'part', s.quote_volume),
      difference('trades', l.trades_count, :'part', s.trades_count),
      difference('taker volume', l.taker_buy_volume, :'part', s.taker_buy_volume),
      difference('taker quote volume', l.taker_buy_quote_volume, :'part', s.taker_buy_quote_volume)
    ) as sums_detail
  from longer l
  join added_up s on s.slot = l.open_time
  where s.parts = extract(
    epoch from next_slot(:'interval', l.open_time)
      - greatest(l.open_time, slot_of(:'part', nullif(:'listed_time', '')::timestamptz))
  ) / :'part_seconds'::int - (
    -- A confirmed gap may have been filled since.
    select coalesce(sum(extract(epoch from span.to_time - span.from_time) / :'part_seconds'::int - stored.parts), 0)
    from confirmed_gaps g
    cross join lateral (
      select greatest(g.from_time, l.open_time), least(g.to_time, next_slot(:'interval', l.open_time))
    ) as span (from_time, to_time)
    cross join lateral (
      select count(*) as parts
      from stored_candles(:'instrument_id', :'part', span.from_time, span.to_time)
    ) as stored
    where g.instrument_id = :'instrument_id'::int
      and g.interval = :'part'
      and g.from_time < next_slot(:'interval', l.open_time)
      and g.to_time > l.open_time
  )
),
compared as (
  select
    p.open_time,
    concat_ws(
      ', ',
      difference('open', p.open_price, :'part', first.open_price),
      difference('close', p.close_price, :'part', last.close_price),
      nullif(p.sums_detail, '')
    ) as detail
  from paired p
  cross join lateral (
    select open_price
    from both_tiers
    where instrument_id = :'instrument_id'::int and interval = :'part' and open_time = p.first_time
    limit 1
  ) as first
  cross join lateral (
    select close_price
    from both_tiers
    where instrument_id = :'instrument_id'::int and interval = :'part' and open_time = p.last_time
    limit 1
  ) as last
)
select 'rollup' as check_name, open_time, detail, hashtextextended(detail, 0) as row_hash
from compared
where detail <> ''
