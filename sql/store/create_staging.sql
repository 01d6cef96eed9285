-- Makes the empty staging table of this session
-- Locks nothing that others see. Can be run again.

create temp table if not exists staged_klines (
  instrument_id int not null,
  interval text not null,
  open_time timestamptz(3) not null,
  close_time timestamptz(3) not null,
  open_price numeric not null,
  high_price numeric not null,
  low_price numeric not null,
  close_price numeric not null,
  volume numeric not null,
  quote_volume numeric not null,
  trades_count int not null,
  taker_buy_volume numeric not null,
  taker_buy_quote_volume numeric not null
);

truncate staged_klines;
