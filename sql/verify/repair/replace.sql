-- Puts the staged candles of one series in place of the stored ones, in whichever tier those live
-- Locks the rows it writes. Can be run again: candles that are the same stay untouched.
-- A stored candle that was not staged goes only where another one of its slot was. The columns
-- created_at and updated_at of an archived candle stay: with the right content its batch's hash
-- is right again.

create temp table if not exists repaired_klines (
  open_time timestamptz not null,
  tier text not null,
  was jsonb,
  became jsonb
);

truncate repaired_klines;

-- Of a candle staged twice the later one counts.
delete from staged_klines s
using staged_klines later
where later.open_time = s.open_time and later.ctid > s.ctid;

with gone as (
  delete from klines k
  where k.instrument_id = :'instrument_id'::int
    and k.interval = :'interval'
    and k.open_time in (
      select h.open_time
      from (select distinct slot_of(:'interval', open_time) as slot from staged_klines) as s
      join klines h on
        h.instrument_id = :'instrument_id'::int
        and h.interval = :'interval'
        and h.open_time >= s.slot
        and h.open_time < next_slot(:'interval', s.slot)
    )
    and not exists (select from staged_klines s where s.open_time = k.open_time)
  returning k.*
)
insert into repaired_klines select open_time, 'hot', to_jsonb(g), null from gone g;

with gone as (
  delete from klines_archive k
  where k.instrument_id = :'instrument_id'::int
    and k.interval = :'interval'
    and k.open_time in (
      select h.open_time
      from (select distinct slot_of(:'interval', open_time) as slot from staged_klines) as s
      join klines_archive h on
        h.instrument_id = :'instrument_id'::int
        and h.interval = :'interval'
        and h.open_time >= s.slot
        and h.open_time < next_slot(:'interval', s.slot)
    )
    and not exists (select from staged_klines s where s.open_time = k.open_time)
  returning k.*
)
insert into repaired_klines select open_time, 'archive', to_jsonb(g), null from gone g;

-- Of a candle in both tiers the archived one stays, unless it lies beyond all that is archived.
with gone as (
  delete from klines_archive k
  using staged_klines s
  where k.instrument_id = :'instrument_id'::int
    and k.interval = :'interval'
    and k.open_time = s.open_time
    and k.open_time > (
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
    )
    and exists (
      select from klines h
      where h.instrument_id = :'instrument_id'::int and h.interval = :'interval' and h.open_time = s.open_time
    )
  returning k.*
)
insert into repaired_klines select open_time, 'archive', to_jsonb(g), null from gone g;

with changed as (
  update klines_archive k
  set
    close_time = s.close_time,
    open_price = s.open_price,
    high_price = s.high_price,
    low_price = s.low_price,
    close_price = s.close_price,
    volume = s.volume,
    quote_volume = s.quote_volume,
    trades_count = s.trades_count,
    taker_buy_volume = s.taker_buy_volume,
    taker_buy_quote_volume = s.taker_buy_quote_volume
  from staged_klines s
  join klines_archive before on
    before.instrument_id = :'instrument_id'::int
    and before.interval = :'interval'
    and before.open_time = s.open_time
  where k.instrument_id = :'instrument_id'::int
    and k.interval = :'interval'
    and k.open_time = s.open_time
    and (
      k.close_time, k.open_price, k.high_price, k.low_price, k.close_price,
      k.volume, k.quote_volume, k.trades_count, k.taker_buy_volume, k.taker_buy_quote_volume
    ) is distinct from (
      s.close_time, s.open_price, s.high_price, s.low_price, s.close_price,
      s.volume, s.quote_volume, s.trades_count, s.taker_buy_volume, s.taker_buy_quote_volume
    )
  returning k.open_time, to_jsonb(before) as was, to_jsonb(k) as became
)
insert into repaired_klines select open_time, 'archive', was, became from changed;

with gone as (
  delete from klines k
  using staged_klines s
  where k.instrument_id = :'instrument_id'::int
    and k.interval = :'interval'
    and k.open_time = s.open_time
    and exists (
      select from klines_archive a
      where a.instrument_id = :'instrument_id'::int and a.interval = :'interval' and a.open_time = s.open_time
    )
  returning k.*
)
insert into repaired_klines select open_time, 'hot', to_jsonb(g), null from gone g;

with changed as (
  update klines k
  set
    close_time = s.close_time,
    open_price = s.open_price,
    high_price = s.high_price,
    low_price = s.low_price,
    close_price = s.close_price,
    volume = s.volume,
    quote_volume = s.quote_volume,
    trades_count = s.trades_count,
    taker_buy_volume = s.taker_buy_volume,
    taker_buy_quote_volume = s.taker_buy_quote_volume,
    updated_at = now()
  from staged_klines s
  join klines before on
    before.instrument_id = :'instrument_id'::int
    and before.interval = :'interval'
    and before.open_time = s.open_time
  where k.instrument_id = :'instrument_id'::int
    and k.interval = :'interval'
    and k.open_time = s.open_time
    and (
      k.close_time, k.open_price, k.high_price, k.low_price, k.close_price,
      k.volume, k.quote_volume, k.trades_count, k.taker_buy_volume, k.taker_buy_quote_volume
    ) is distinct from (
      s.close_time, s.open_price, s.high_price, s.low_price, s.close_price,
      s.volume, s.quote_volume, s.trades_count, s.taker_buy_volume, s.taker_buy_quote_volume
    )
  returning k.open_time, to_jsonb(before) as was, to_jsonb(k) as became
)
insert into repaired_klines select open_time, 'hot', was, became from changed;

with added as (
  insert into klines (
    instrument_id, interval, open_time, close_time,
    open_price, high_price, low_price, close_price,
    volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
  )
  select
    :'instrument_id'::int, :'interval', s.open_time, s.close_time,
    s.open_price, s.high_price, s.low_price, s.close_price,
    s.volume, s.quote_volume, s.trades_count, s.taker_buy_volume, s.taker_buy_quote_volume
  from staged_klines s
  where not exists (
      select from klines k
      where k.instrument_id = :'instrument_id'::int and k.interval = :'interval' and k.open_time = s.open_time
    )
    and not exists (
      select from klines_archive k
      where k.instrument_id = :'instrument_id'::int and k.interval = :'interval' and k.open_time = s.open_time
    )
  returning klines.*
)
insert into repaired_klines select open_time, 'hot', null, to_jsonb(a) from added a;

insert into repairs (instrument_id, interval, open_time, tier, was, became, source)
select :'instrument_id'::int, :'interval', open_time, tier, was, became, :'source'
from repaired_klines;

select open_time, tier, was is null as is_new, became is null as is_gone
from repaired_klines
order by open_time, tier;
