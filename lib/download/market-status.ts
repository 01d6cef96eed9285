import type postgres from 'postgres';
import { describeError, EXIT, KlinekeepError } from '../base/mod.ts';
import type { RestSource } from '../binance/mod.ts';
import type { Instrument, Market } from '../market/mod.ts';
import { type SyncChanges, syncMarket } from './sync.ts';

/**
 * The markets that cannot be reached, and why. Only their instruments fail.
 * @throws the reason when no market can be reached: one error, not one for each instrument
 */
export async function findDownMarkets(
  instruments: readonly Instrument[],
  source: RestSource,
): Promise<Map<Market, Error>> {
  const markets = [...new Set(instruments.map((instrument) => instrument.market))];
  const down = new Map<Market, Error>();
  for (const market of markets) {
    await source.serverTimeMs(market).catch((error) => down.set(market, asMarketError(error)));
  }
  const [first] = down.values();
  if (first && down.size === markets.length) throw first.cause;
  return down;
}

/** Not a ShutOutError, which would end the whole run. */
function asMarketError(error: unknown): Error {
  const isBanned = error instanceof KlinekeepError && error.exitCode === EXIT.later;
  return new KlinekeepError(isBanned ? 'later' : 'unavailable', describeError(error), {
    cause: error,
  });
}

/**
 * Looks up which symbols are still traded: in markets where an earlier run marked one, and once an
 * hour where one was delisted in the last week, since a trading halt looks the same.
 * @param except markets that cannot be reached
 * @returns the changes of each market that was looked up
 */
export async function refreshMarkets(
  sql: postgres.Sql,
  source: RestSource,
  instruments: readonly Instrument[],
  except: readonly Market[],
): Promise<SyncChanges[]> {
  const marked = instruments.filter((each) => each.needsCheck && each.status === 'active');
  const changes: SyncChanges[] = [];
  const markets = [...marked.map((each) => each.market), ...(await marketsToLookUp(sql))];
  for (const market of new Set(markets)) {
    if (!except.includes(market)) changes.push(await syncMarket(sql, source, market));
  }
  return changes;
}

async function marketsToLookUp(sql: postgres.Sql): Promise<Market[]> {
  const rows = await sql<{ market: Market }[]>`
    select i.market
    from instruments i
    left join market_checks c on c.market = i.market
    where i.status = 'delisted'
      and i.updated_at > now() - interval '7 days'
      and (c.looked_up_at < now() - interval '1 hour') is not false
    group by i.market`;
  return rows.map((row) => row.market);
}
