import type postgres from 'postgres';
import type { RestSource } from './binance/rest.ts';
import { describeError } from './errors.ts';
import type { Instrument } from './instruments.ts';
import type { Market } from './symbols.ts';
import { refreshMarket, type SyncChanges } from './sync.ts';

/**
 * The markets that cannot be asked, and why: their instruments fail, the others' do not.
 * @throws the reason when there is no other market: it is one error, not one for each instrument
 */
export async function findDownMarkets(
  instruments: readonly Instrument[],
  source: RestSource,
): Promise<Map<Market, Error>> {
  const markets = [...new Set(instruments.map((instrument) => instrument.market))];
  const down = new Map<Market, Error>();
  for (const market of markets) {
    await source
      .serverTimeMs(market)
      .catch((error) => down.set(market, new Error(describeError(error), { cause: error })));
  }
  const [first] = down.values();
  if (first && down.size === markets.length) throw first.cause;
  return down;
}

/**
 * Looks up who is still traded where an earlier run came to doubt it.
 * @param except markets that cannot be asked
 * @returns what changed, one entry for each market that was looked up
 */
export async function refreshDoubted(
  sql: postgres.Sql,
  source: RestSource,
  instruments: readonly Instrument[],
  except: readonly Market[],
): Promise<SyncChanges[]> {
  const doubted = instruments.filter((each) => each.isDoubted && each.status === 'active');
  const changes: SyncChanges[] = [];
  for (const market of new Set(doubted.map((each) => each.market))) {
    if (!except.includes(market)) changes.push(await refreshMarket(sql, source, market));
  }
  return changes;
}
