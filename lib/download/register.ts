import { KlinekeepError } from '../base/mod.ts';
import type { ListedSymbol, RestSource } from '../binance/mod.ts';
import type { Instrument, SymbolName } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import {
  findInstruments,
  isNamed,
  listInstruments,
  registerInstruments,
  showName,
} from '../store/mod.ts';

/**
 * The instruments of these names; those that are new are looked up at the exchange and
 * registered, all of them or none.
 * @throws KlinekeepError (65) when the exchange does not list one of them.
 */
export async function findOrRegister(
  sql: Sql,
  source: RestSource,
  names: readonly SymbolName[],
): Promise<Instrument[]> {
  const all = await listInstruments(sql);
  const unknown = names.filter((name) => !all.some((instrument) => isNamed(instrument, name)));
  if (unknown.length > 0) {
    const listed = [];
    for (const name of unknown) listed.push(await lookUp(source, name));
    await registerInstruments(sql, listed);
  }
  return await findInstruments(sql, names);
}

async function lookUp(source: RestSource, name: SymbolName): Promise<ListedSymbol> {
  const listed = await source.symbols(name.market, name.exchangeSymbol);
  const match = listed.find((symbol) => name.symbol === undefined || symbol.symbol === name.symbol);
  if (match) return match;
  const other = listed[0] ? ` (${listed[0].exchangeSymbol} is ${listed[0].symbol} there)` : '';
  throw new KlinekeepError(
    'data',
    `Binance lists no ${showName(name)} on ${name.market}${other}.`,
    {
      hint: 'Look for the exact name: BTC/USDT on spot, BTC/USDT:USDT or BTCUSDT with --market usdm for a perpetual.',
    },
  );
}
