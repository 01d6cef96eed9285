import type postgres from 'postgres';
import type { ListedSymbol, RestSource } from '../binance/mod.ts';
import type { Instrument, Market } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import { listInstruments, registerInstruments } from '../store/mod.ts';

/** Unified symbols whose registration changed. */
export interface SyncChanges {
  market: Market;
  registered: string[];
  delisted: string[];
  relisted: string[];
  /** How many symbols of the market are active now. */
  active: number;
}

export interface SyncOptions {
  /** Also register new active symbols, only of this quote if one is given. */
  register?: { quote?: string | undefined } | undefined;
  /** Report the changes without storing them. */
  dryRun?: boolean;
}

/**
 * Compares the registry of one market with exchangeInfo, and stores the changes in one transaction.
 * Symbols that are TRADING are active; all others, and those that are missing, are delisted. None is
 * ever deleted.
 */
export async function syncMarket(
  sql: postgres.Sql,
  source: RestSource,
  market: Market,
  { register, dryRun = false }: SyncOptions = {},
): Promise<SyncChanges> {
  const known = await listInstruments(sql, { market });
  const listed = await source.symbols(market);
  const exchangeTimeMs = await source.serverTimeMs(market);
  const trading = listed.filter((symbol) => symbol.isTrading);
  const tradingNames = new Set(trading.map((symbol) => symbol.exchangeSymbol));
  const knownNames = new Set(known.map((instrument) => instrument.exchangeSymbol));
  const isTrading = (instrument: Instrument) => tradingNames.has(instrument.exchangeSymbol);

  const active = known.filter((instrument) => instrument.status === 'active');
  const delisted = listSymbols(active.filter((each) => !isTrading(each)));
  const relisted = listSymbols(
    known.filter((each) => each.status === 'delisted' && isTrading(each)),
  );
  const added = trading.filter(
    ({ exchangeSymbol, quote }) =>
      register !== undefined &&
      !knownNames.has(exchangeSymbol) &&
      (register.quote === undefined || quote === register.quote),
  );
  const changes: SyncChanges = {
    market,
    registered: listSymbols(added),
    delisted,
    relisted,
    active: active.length + added.length + relisted.length - delisted.length,
  };
  if (!dryRun) await sql.begin((tx) => storeChanges(tx, changes, added, exchangeTimeMs));
  return changes;
}

function listSymbols(symbols: readonly { symbol: string }[]): string[] {
  return symbols.map(({ symbol }) => symbol);
}

async function storeChanges(
  tx: Sql,
  { market, delisted, relisted }: SyncChanges,
  added: readonly ListedSymbol[],
  exchangeTimeMs: number,
): Promise<void> {
  await tx`
    update instruments
    set status = 'delisted', delisted_at = ${new Date(exchangeTimeMs)}, updated_at = now()
    where market = ${market} and symbol in ${tx(delisted)}`;
  await tx`
    update instruments
    set status = 'active', delisted_at = null, ended_at = null, updated_at = now()
    where market = ${market} and symbol in ${tx(relisted)}`;
  await tx`
    update instruments set doubted_at = null where market = ${market} and doubted_at is not null`;
  await tx`
    insert into market_checks (market, looked_up_at) values (${market}, now())
    on conflict (market) do update set looked_up_at = excluded.looked_up_at`;
  await registerInstruments(tx, added);
}
