/** Candles for which two sources have different values: REST decides which ones are stored. */
import type postgres from 'postgres';
import { type Series, seriesValues } from '../market/mod.ts';
import { runSql, type Session } from '../postgres/mod.ts';
import { KlineEncoder } from './kline-copy.ts';
import type { Page, RequestAgain } from './page.ts';
import { stage } from './staging.ts';

/**
 * Finds the disputed candles of a staged page, requests them over REST and puts the answer into
 * this session's table answered_klines.
 * @returns their open times, Unix ms
 */
export async function requestDisputed(
  session: Session,
  series: Series,
  page: Page,
  requestAgain: RequestAgain,
): Promise<number[]> {
  const rows = await runSql<{ open_time: Date }>(session, 'store/find_disputes.sql', {
    ...seriesValues(series),
    with_stored: String(page.source !== 'rest'),
  });
  const openTimesMs = rows.map((row) => row.open_time.getTime());
  if (openTimesMs.length === 0) return [];
  const answers = await requestAgain(openTimesMs);
  await runSql(session, 'store/create_answers.sql');
  for (const answer of answers)
    await stage(session, new KlineEncoder(series, answer), 'answered_klines');
  return openTimesMs;
}

/**
 * Logs the disputed candles in `repairs`, and leaves in the staging table the one of each that is
 * to be stored.
 * @returns how often the stored candle stayed
 */
export async function settleDisputes(
  tx: postgres.TransactionSql,
  series: Series,
  page: Page,
  openTimesMs: readonly number[],
): Promise<number> {
  if (openTimesMs.length === 0) return 0;
  const [settled] = await runSql<{ disputed: number }>(tx, 'store/settle_disputes.sql', {
    ...seriesValues(series),
    disputed: openTimesMs.join(','),
    source: page.source,
  });
  return settled?.disputed ?? 0;
}

/**
 * Logs the stored candles that differ from the staged ones in `repairs`, before these are merged.
 * @param source `rest`, or the name of a file whose values REST has not confirmed
 */
export async function logDifferences(
  sql: Session | postgres.TransactionSql,
  series: Series,
  source: string,
): Promise<void> {
  await runSql(sql, 'store/log_differences.sql', { ...seriesValues(series), source });
}
