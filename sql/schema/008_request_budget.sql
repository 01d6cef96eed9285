-- request_budget, exchange_pauses: what may be asked of Binance, shared by all runs on this database
-- Locks nothing that exists. Runs once.

-- Unlogged: after a crash the minute is long over.
create unlogged table request_budget (
  market text primary key check (market in ('spot', 'usdm')),
  minute timestamptz(0) not null default '-infinity',
  spent int not null default 0
) with (fillfactor = 50);

comment on column request_budget.minute is 'by the exchange''s clock';
comment on column request_budget.spent is 'weight: reserved by our runs, and whatever the exchange has counted beyond that';

create table exchange_pauses (
  market text primary key check (market in ('spot', 'usdm')),
  until_time timestamptz not null,
  is_ban boolean not null,
  told_at timestamptz not null default now()
);

comment on table exchange_pauses is 'how long Binance has told us to ask nothing: 429, and 418 (a ban)';
