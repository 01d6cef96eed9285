-- klines and klines_archive: the two tiers, a partition per instrument
-- Locks nothing that exists. Runs once. A candle lives in exactly one of the two.

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

create table klines_archive (like klines including all) partition by list (instrument_id);
