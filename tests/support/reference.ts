import type { TestDatabase } from './database.ts';
import type { FakeBinance } from './fake-binance/server.ts';
import { runScript } from './script.ts';
import { expectedRows, expectSameRows, storedRows } from './stored.ts';

/** Fetches 1h candles of BTC/USDT and returns what has to be stored from then on. */
export async function fetchReference(
  database: TestDatabase,
  fake: FakeBinance,
  since: string,
  until: string,
): Promise<{ rows: string[]; expectComplete: () => Promise<Record<string, number>> }> {
  const words = ['BTC/USDT', '--interval', '1h', '--since', since, '--until', until];
  await runScript('fetch-history', words, { DATABASE_URL: database.url, ...fake.env });
  const range = [Date.parse(since), Date.parse(until) - 1] as const;
  const rows = expectedRows(
    await fake.candles('spot', 'BTCUSDT', '1h', ...range),
    Number.POSITIVE_INFINITY,
  );
  return {
    rows,
    /** Expects every candle unchanged in exactly one tier. @returns rows per tier */
    expectComplete: async () => {
      const stored = await storedRows(database.sql, 'spot', 'BTC/USDT', '1h');
      expectSameRows(stored.rows, rows);
      return stored.tiers;
    },
  };
}
