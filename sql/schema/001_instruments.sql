-- instruments: which symbols exist, and which table holds the candles of each
-- Locks nothing that exists. Runs once.

create table instruments (
  id int generated always as identity primary key,
  exchange text not null default 'binance',
  market text not null check (market in ('spot', 'usdm')),
  symbol text not null,
  exchange_symbol text not null,
  base text not null,
  quote text not null,
  status text not null check (status in ('active', 'delisted')),
  table_name text not null unique check (octet_length(table_name) between 1 and 55),
  listed_at timestamptz(3),
  delisted_at timestamptz(3),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (exchange, market, symbol),
  unique (exchange, market, exchange_symbol)
);

comment on column instruments.symbol is 'unified: BTC/USDT on spot, BTC/USDT:USDT for a perpetual';
comment on column instruments.status is 'active: traded when last looked up, and followed by update';
comment on column instruments.table_name is '55 bytes at most: with _archive it must stay under the 63 that PostgreSQL keeps';
comment on column instruments.listed_at is 'open time of the first 1m candle, asked of the exchange when first needed';
