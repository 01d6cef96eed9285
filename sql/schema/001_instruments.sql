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
  doubted_at timestamptz,
  ended_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (exchange, market, symbol),
  unique (exchange, market, exchange_symbol)
);

comment on table instruments is 'the symbols that klinekeep knows, including those that are no longer traded';
comment on column instruments.id is 'never changes; the candles refer to it';
comment on column instruments.exchange is 'always binance';
comment on column instruments.market is 'spot, or usdm: USDⓈ-M perpetuals';
comment on column instruments.symbol is 'unified: BTC/USDT on spot, BTC/USDT:USDT for a perpetual';
comment on column instruments.exchange_symbol is 'Binance''s own name: BTCUSDT';
comment on column instruments.base is 'the currency that is traded: BTC';
comment on column instruments.quote is 'the currency of the prices: USDT';
comment on column instruments.status is 'active (it was traded when klinekeep last looked it up, so update follows it) or delisted';
comment on column instruments.table_name is 'the name of its candle table; with the suffix _archive, it must fit into PostgreSQL''s limit of 63 bytes';
comment on column instruments.listed_at is 'open time of the first 1m candle; null: not yet requested';
comment on column instruments.delisted_at is 'when klinekeep found that it is no longer traded';
comment on column instruments.doubted_at is 'when Binance did not know the symbol or sent nothing new; the next update looks up its status and clears this; null: no check is needed';
comment on column instruments.ended_at is 'when every series of a delisted symbol had reached its last candle; update then skips the symbol; null: not yet';
comment on column instruments.created_at is 'when it was registered';
comment on column instruments.updated_at is 'when klinekeep last changed this row';

create table market_checks (
  market text primary key check (market in ('spot', 'usdm')),
  looked_up_at timestamptz not null
);

comment on table market_checks is 'when the status of each market''s symbols was last looked up';
comment on column market_checks.market is 'spot or usdm';
comment on column market_checks.looked_up_at is 'by the clock of this database';

-- With `where symbol = …` PostgreSQL plans and locks the tables of all instruments, since it looks the
-- symbol up only when the query runs. An instrument never changes its id, so this function can be
-- immutable: the planner calls it, and leaves out all other tables.
create function instrument_id(symbol text) returns int
language plpgsql immutable strict parallel safe as $$
declare
  id int;
begin
  select i.id into id from instruments i where i.symbol = $1;
  -- Not null: a plan that is kept for later would never find the instrument.
  if id is null then
    raise exception 'Not registered: %', $1 using hint = 'select symbol from instruments';
  end if;
  return id;
end $$;

comment on function instrument_id(text) is
  'the id of a symbol. where instrument_id = instrument_id(''BTC/USDT'') opens only that instrument''s tables; where symbol = ''BTC/USDT'' opens all tables';

-- klinekeep creates this table itself, before it applies the first file.
comment on table schema_files is 'the files of sql/schema that were applied to this database';
comment on column schema_files.name is 'its file name; files are applied in the order of their names';
comment on column schema_files.sha256 is 'SHA-256 of its content; a file must not be edited after it was applied';
comment on column schema_files.applied_at is 'when it was applied';
