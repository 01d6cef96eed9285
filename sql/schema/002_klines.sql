-- klines and klines_archive: the candles in two tiers, and the views over both
-- Locks nothing that exists. Runs once. A candle lives in exactly one of the two tables.

create table klines (
  instrument_id int not null,
  interval text not null,
  open_time timestamptz(3) not null,
  close_time timestamptz(3) not null,
  open_price numeric(28, 8) not null,
  high_price numeric(28, 8) not null,
  low_price numeric(28, 8) not null,
  close_price numeric(28, 8) not null,
  volume numeric(28, 8) not null,
  quote_volume numeric(28, 8) not null,
  trades_count int not null,
  taker_buy_volume numeric(28, 8) not null,
  taker_buy_quote_volume numeric(28, 8) not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (instrument_id, interval, open_time)
) partition by list (instrument_id);

comment on table klines is 'the hot tier: candles that are not archived; one partition per instrument';
comment on column klines.instrument_id is 'instruments.id';
comment on column klines.interval is 'as Binance writes it: 1s (spot only), 1m, 3m, … 1h, … 1d, 3d, 1w, 1M';
comment on column klines.open_time is 'the first moment of the candle';
comment on column klines.close_time is 'the last millisecond of the candle';
comment on column klines.open_price is 'price of the first trade';
comment on column klines.high_price is 'highest price';
comment on column klines.low_price is 'lowest price';
comment on column klines.close_price is 'price of the last trade';
comment on column klines.volume is 'traded volume, in the base currency';
comment on column klines.quote_volume is 'traded volume, in the quote currency';
comment on column klines.trades_count is 'number of trades';
comment on column klines.taker_buy_volume is 'the part of volume that takers bought';
comment on column klines.taker_buy_quote_volume is 'the part of quote_volume that takers bought';
comment on column klines.created_at is 'when the candle was stored';
comment on column klines.updated_at is 'when it was stored, or last corrected';

-- The comments of the columns are copied too, here and to each partition.
create table klines_archive (like klines including all) partition by list (instrument_id);

comment on table klines_archive is 'the archive tier: archived candles; one partition per instrument';

-- Read both tiers in one statement: two statements may see a candle that moves in between twice, or never.
create view both_tiers as
select 'hot' as tier, k.* from klines k
union all
select 'archive' as tier, k.* from klines_archive k;

-- The planner puts its body into the query, and then reads only the tables and pages of the range.
create function stored_candles(instrument int, width text, from_time timestamptz, to_time timestamptz)
returns setof both_tiers
language sql stable parallel safe
begin atomic
  select k.*
  from both_tiers k
  where k.instrument_id = instrument
    and k.interval = width
    and k.open_time >= from_time
    and k.open_time < to_time;
end;

-- A left join on a key is left out of the plan where the query uses no column of instruments.
create view all_klines as
select
  i.market, i.symbol, k.tier,
  (extract(epoch from k.open_time) * 1000)::bigint as timestamp,
  k.instrument_id, k.interval, k.open_time, k.close_time,
  k.open_price, k.high_price, k.low_price, k.close_price,
  k.volume, k.quote_volume, k.trades_count, k.taker_buy_volume, k.taker_buy_quote_volume,
  k.created_at, k.updated_at
from both_tiers k
left join instruments i on i.id = k.instrument_id;

comment on view both_tiers is 'the candles of both tiers, without symbols';
comment on function stored_candles is 'the candles of one series from both tiers, with from_time <= open_time < to_time';
comment on view all_klines is 'the candles of both tiers with their symbols; use this view in your queries. Filter by instrument_id, interval and open_time';

comment on column both_tiers.tier is 'hot: in klines; archive: in klines_archive';
comment on column all_klines.market is 'instruments.market';
comment on column all_klines.symbol is 'instruments.symbol';
comment on column all_klines.tier is 'hot: in klines; archive: in klines_archive';
comment on column all_klines.timestamp is 'open time in Unix milliseconds';

-- The other columns of the views have the comments of klines.
do $$
declare
  shared record;
begin
  for shared in
    select v.attrelid::regclass as view, v.attname as name, col_description(k.attrelid, k.attnum) as text
    from pg_attribute k
    join pg_attribute v on v.attname = k.attname
    where k.attrelid = 'klines'::regclass
      and k.attnum > 0
      and v.attrelid in ('both_tiers'::regclass, 'all_klines'::regclass)
  loop
    execute format('comment on column %s.%I is %L', shared.view, shared.name, shared.text);
  end loop;
end $$;
