import { describeError, EXIT, KlinekeepError } from '../base/mod.ts';
import type { RestSource } from '../binance/mod.ts';
import { type Instrument, type SymbolName, tableNameFor } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import { findInstruments, listInstruments, registerInstruments } from '../store/mod.ts';
import { findOrRegister } from './register.ts';

/**
 * The instrument of a name, registered through the exchange if it is new, or by its name alone where
 * the exchange cannot be reached: base and quote are in it.
 * @param options.writes false: one that is new is made up, and not registered
 * @returns the instrument, and the exchange's clock, or this machine's
 */
export async function findOrRegisterOffline(
  sql: Sql,
  openSource: () => Promise<RestSource>,
  name: SymbolName,
  { writes, warn }: { writes: boolean; warn: (message: string) => void },
): Promise<{ instrument: Instrument; nowMs: number }> {
  const found = await findRegistered(sql, name);
  try {
    const source = await openSource();
    const nowMs = await source.serverTimeMs(name.market);
    if (found) return { instrument: found, nowMs };
    if (!writes) return { instrument: plannedInstrument(name), nowMs };
    const [instrument] = await findOrRegister(sql, source, [name]);
    return { instrument: instrument as Instrument, nowMs };
  } catch (error) {
    if (!(error instanceof KlinekeepError) || error.exitCode !== EXIT.unavailable) throw error;
    const nowMs = Date.now();
    if (found) return { instrument: found, nowMs };
    if (!writes) return { instrument: plannedInstrument(name), nowMs };
    const instrument = await registerByName(sql, name, error);
    warn(
      `Binance cannot be reached (${describeError(error)}): ${instrument.symbol} is registered by its name`,
    );
    return { instrument, nowMs };
  }
}

async function findRegistered(sql: Sql, name: SymbolName): Promise<Instrument | undefined> {
  const all = await listInstruments(sql, { market: name.market });
  return all.find((each) =>
    name.symbol === undefined
      ? each.exchangeSymbol === name.exchangeSymbol
      : each.symbol === name.symbol,
  );
}

/** @throws KlinekeepError (69) when base and quote cannot be told from the name */
async function registerByName(sql: Sql, name: SymbolName, cause: unknown): Promise<Instrument> {
  const parts = splitSymbol(name);
  if (parts === undefined) {
    throw new KlinekeepError(
      'unavailable',
      `Binance cannot be reached, and ${name.exchangeSymbol} does not say what its base and quote are.`,
      { hint: 'Write it as BTC/USDT, or BTC/USDT:USDT for a perpetual.', cause },
    );
  }
  const { market, exchangeSymbol } = name;
  await registerInstruments(sql, [
    { market, exchangeSymbol, symbol: name.symbol as string, ...parts, isTrading: true },
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
    isDoubted: false,
  };
}
