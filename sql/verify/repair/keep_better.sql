-- Leaves of the staged answer only candles that are better than the stored ones: other than
-- those, and sound
-- Locks nothing that others see. Can be run again. Lists the slots of those that are stored just so.

-- What has two candles for one slot is REST's to tell: one of them alone would replace both.
delete from staged_klines
where slot_of(:'interval', open_time) in (
  select slot_of(:'interval', open_time)
  from staged_klines
  group by 1
  having count(distinct open_time) > 1
);

with equal as (
  delete from staged_klines s
  where exists (
    select from klines_archive k
    where k.instrument_id = :'instrument_id'::int and k.interval = :'interval' and k.open_time = s.open_time
      and (
        k.close_time, k.open_price, k.high_price, k.low_price, k.close_price,
        k.volume, k.quote_volume, k.trades_count, k.taker_buy_volume, k.taker_buy_quote_volume
      ) is not distinct from (
        s.close_time, s.open_price, s.high_price, s.low_price, s.close_price,
        s.volume, s.quote_volume, s.trades_count, s.taker_buy_volume, s.taker_buy_quote_volume
      )
  )
  or exists (
    select from klines k
    where k.instrument_id = :'instrument_id'::int and k.interval = :'interval' and k.open_time = s.open_time
      and (
        k.close_time, k.open_price, k.high_price, k.low_price, k.close_price,
        k.volume, k.quote_volume, k.trades_count, k.taker_buy_volume, k.taker_buy_quote_volume
      ) is not distinct from (
        s.close_time, s.open_price, s.high_price, s.low_price, s.close_price,
        s.volume, s.quote_volume, s.trades_count, s.taker_buy_volume, s.taker_buy_quote_volume
      )
  )
  returning s.open_time
),
unsound as (
  delete from staged_klines s
  where not (
    open_time = slot_of(:'interval', open_time)
    and close_time = next_slot(:'interval', open_time) - interval '1 millisecond'
    and low_price <= least(open_price, close_price)
    and high_price >= greatest(open_price, close_price)
    and taker_buy_volume between 0 and volume
    and taker_buy_quote_volume between 0 and quote_volume
    and (trades_count = 0 or volume > 0)
  )
)
select open_time from equal;
