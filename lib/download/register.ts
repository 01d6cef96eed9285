import { describeError, EXIT, KlinekeepError } from '../base/mod.ts';
import type { ListedSymbol, RestSource } from '../binance/mod.ts';
import { type Instrument, type SymbolName, tableNameFor } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import {
  findInstruments,
  isNamed,
  listInstruments,
  registerInstruments,
  showName,
} from '../store/mod.ts';

/**
 * The instruments of these names. New ones are looked up at the exchange and registered, all of
 * them or none.
 * @throws KlinekeepError (65) when the exchange does not list one of them
 */
export async function findOrRegister(
  sql: Sql,
  source: RestSource,
  names: readonly SymbolName[],
): Promise<Instrument[]> {
  const all = await listInstruments(sql);
  const listed: ListedSymbol[] = [];
  for (const name of names) {
    if (!all.some((instrument) => isNamed(instrument, name)))
      listed.push(await findListed(source, name));
  }
  await registerInstruments(sql, listed);
  return await findInstruments(sql, names);
}

async function findListed(source: RestSource, name: SymbolName): Promise<ListedSymbol> {
  const listed = await source.symbols(name.market, name.exchangeSymbol);
  const match = listed.find((symbol) => name.symbol === undefined || symbol.symbol === name.symbol);
  if (match) return match;
  const other = listed[0] ? ` (${listed[0].exchangeSymbol} is ${listed[0].symbol} there)` : '';
  throw new KlinekeepError(
    'data',
    `Binance does not list ${showName(name)} on ${name.market}${other}.`,
    {
      hint: 'Look for the exact name: BTC/USDT on spot, BTC/USDT:USDT or BTCUSDT with --market usdm for a perpetual.',
    },
  );
}

/**
 * The instrument of a name. A new one is registered through the exchange, or by its name alone
 * where the exchange cannot be reached: base and quote are part of it.
 * @param options.writes false: a new one is not registered, but returned as it would be
 * @returns the instrument, and the time of the exchange's clock, or else of this machine's, Unix ms
 */
export async function findOrRegisterOffline(
  sql: Sql,
  openSource: () => Promise<RestSource>,
  name: SymbolName,
  { writes, warn }: { writes: boolean; warn: (message: string) => void },
): Promise<{ instrument: Instrument; nowMs: number }> {
  const known = (await listInstruments(sql)).find((instrument) => isNamed(instrument, name));
  const instrument = known ?? (writes ? undefined : plannedInstrument(name));
  try {
    const source = await openSource();
    const nowMs = await source.serverTimeMs(name.market);
    const [found] = instrument ? [instrument] : await findOrRegister(sql, source, [name]);
    return { instrument: found as Instrument, nowMs };
  } catch (error) {
    if (!(error instanceof KlinekeepError) || error.exitCode !== EXIT.unavailable) throw error;
    if (instrument) return { instrument, nowMs: Date.now() };
    const registered = await registerByName(sql, name, error);
    warn(
      `Cannot reach Binance (${describeError(error)}): ${registered.symbol} is registered by its name`,
    );
    return { instrument: registered, nowMs: Date.now() };
  }
}

/** @throws KlinekeepError (69) when the name does not show base and quote */
async function registerByName(sql: Sql, name: SymbolName, cause: unknown): Promise<Instrument> {
  const parts = splitSymbol(name);
  if (parts === undefined) {
    throw new KlinekeepError(
      'unavailable',
      `Cannot register ${name.exchangeSymbol}: cannot reach Binance, and the name does not separate base and quote.`,
      { hint: 'Write it as BTC/USDT, or BTC/USDT:USDT for a perpetual.', cause },
    );
  }
  await registerInstruments(sql, [
    { ...name, symbol: name.symbol as string, ...parts, isTrading: true },
  ]);
  const [instrument] = await findInstruments(sql, [name]);
  return instrument as Instrument;
}

function splitSymbol({ symbol }: SymbolName): { base: string; quote: string } | undefined {
  const [, base, quote] = /^([^/]+)\/([^:]+)/.exec(symbol ?? '') ?? [];
  return base && quote ? { base, quote } : undefined;
}

/** An instrument as it would be registered, with an id that none has. */
export function plannedInstrument(name: SymbolName): Instrument {
  const parts = splitSymbol(name);
  return {
    id: 0,
    market: name.market,
    symbol: name.symbol ?? name.exchangeSymbol,
    exchangeSymbol: name.exchangeSymbol,
    status: 'active',
    tableName: parts ? tableNameFor(name.market, parts.base, parts.quote) : '',
    listedAtMs: undefined,
    needsCheck: false,
  };
}
