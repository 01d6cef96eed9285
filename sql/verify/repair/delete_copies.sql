-- Deletes one of the two copies of each candle of one series that both tiers hold alike
-- Locks the rows it deletes. Can be run again. The archived one stays, unless it lies beyond all
-- that is archived. Limits and offsets keep the planner to one look into the index a candle, where
-- fresh tables without statistics would make it compare each with each.

with boundary as (
  select max(open_time) as open_time
  from (
    select a.open_time
    from klines_archive a
    where a.instrument_id = :'instrument_id'::int
      and a.interval = :'interval'
      and not exists (
        select from klines h
        where h.instrument_id = :'instrument_id'::int and h.interval = :'interval' and h.open_time = a.open_time
        offset 0
      )
    order by a.open_time desc
    limit 1
  ) as newest
),
copies as (
  select h.open_time, h.open_time > b.open_time as is_beyond
  from boundary b
  cross join klines h
  cross join lateral (
    select *
    from klines_archive
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = h.open_time
    limit 1
  ) as a
  where h.instrument_id = :'instrument_id'::int
    and h.interval = :'interval'
    and (
      h.close_time, h.open_price, h.high_price, h.low_price, h.close_price,
      h.volume, h.quote_volume, h.trades_count, h.taker_buy_volume, h.taker_buy_quote_volume
    ) is not distinct from (
      a.close_time, a.open_price, a.high_price, a.low_price, a.close_price,
      a.volume, a.quote_volume, a.trades_count, a.taker_buy_volume, a.taker_buy_quote_volume
    )
),
archived_gone as (
  delete from klines_archive a
  using copies c
  where a.instrument_id = :'instrument_id'::int
    and a.interval = :'interval'
    and a.open_time = c.open_time
    and c.is_beyond
  returning a.open_time
),
gone as (
  delete from klines h
  using copies c
  where h.instrument_id = :'instrument_id'::int
    and h.interval = :'interval'
    and h.open_time = c.open_time
    and c.is_beyond is not true
  returning h.open_time
)
select (select count(*) from gone)::int + (select count(*) from archived_gone)::int as deleted;
