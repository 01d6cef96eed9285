import type postgres from 'postgres';
import { describeError, EXIT, KlinekeepError } from '../base/mod.ts';
import type { RestSource } from '../binance/mod.ts';
import type { Instrument, Market } from '../market/mod.ts';
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
    await source.serverTimeMs(market).catch((error) => down.set(market, notShutOut(error)));
  }
  const [first] = down.values();
  if (first && down.size === markets.length) throw first.cause;
  return down;
}

/** One market that serves no one here is no reason to end the run. */
function notShutOut(error: unknown): Error {
  const isBanned = error instanceof KlinekeepError && error.exitCode === EXIT.later;
  return new KlinekeepError(isBanned ? 'later' : 'unavailable', describeError(error), {
    cause: error,
  });
}

/**
 * Looks up who is still traded where an earlier run came to doubt it, and once an hour where
 * somebody was delisted in the last week: a halt looks the same and may be over.
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
  const markets = [...doubted.map((each) => each.market), ...(await marketsToLookAt(sql))];
  for (const market of new Set(markets)) {
    if (!except.includes(market)) changes.push(await refreshMarket(sql, source, market));
  }
  return changes;
}

async function marketsToLookAt(sql: postgres.Sql): Promise<Market[]> {
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
