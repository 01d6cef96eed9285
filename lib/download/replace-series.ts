import { formatShort, formatTime, KlinekeepError } from '../base/mod.ts';
import { addSteps, floorToGrid, rangeValues, type Series, type TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import {
  lockedTransaction,
  logDifferences,
  merge,
  NOTHING_STORED,
  type StoreCounts,
  type StoredSeries,
  storeRejected,
} from '../store/mod.ts';
import { formingOpenMs } from './download.ts';
import { type Download, stageFromRest } from './pages.ts';
import { findLatestFrom } from './update-series.ts';

/**
 * Downloads again what is stored of the latest `limit` candles, or everything that klines has of the
 * series, and replaces it in one transaction after the last page has arrived: readers see the old
 * candles or the new ones. Archived candles stay unchanged, and what follows the last stored candle
 * is left to `updateSeries`.
 * @throws KlinekeepError (1) when a stored candle is missing in the answer: nothing changes
 */
export async function replaceSeries(
  download: Download,
  stored: StoredSeries,
  limit: number | undefined,
): Promise<StoreCounts> {
  const { series, session } = download;
  const { instrument, interval } = series;
  const endMs = await formingOpenMs(download);
  const toMs = Math.min(endMs, addSteps(interval, floorToGrid(interval, stored.lastMs), 1));
  const fromMs =
    limit === undefined
      ? floorToGrid(interval, stored.firstHotMs ?? toMs)
      : await findLatestFrom(download, stored, endMs, limit);
  if (fromMs >= toMs) return NOTHING_STORED;
  const range = { fromMs, toMs };

  const rejected = await stageFromRest(download, [range]);
  return await lockedTransaction(session, instrument.id, '', async (tx) => {
    await assertNothingMissing(series, range, tx);
    const [staged] = await tx`select exists (select from staged_klines) as any`;
    if (!staged?.any) return NOTHING_STORED;
    await logDifferences(tx, series, 'rest');
    const counts = await merge(tx, series);
    await storeRejected(tx, series, 'rest', rejected);
    return { ...NOTHING_STORED, ...counts, rejected: rejected.length };
  });
}

async function assertNothingMissing(series: Series, range: TimeRange, tx: Sql): Promise<void> {
  const [found] = await runSql<{
    stored_rows: number;
    lacking_rows: number;
    first_lacking_time: Date | null;
  }>(tx, 'download/compare_staged.sql', rangeValues(series, range));
  if (!found?.first_lacking_time) return;
  throw new KlinekeepError(
    'failed',
    `Cannot replace candles: Binance's answer is missing ${found.lacking_rows} of the ` +
      `${found.stored_rows} candles stored from ${formatShort(range.fromMs)} to ` +
      `${formatShort(range.toMs)}, the first at ${formatTime(found.first_lacking_time.getTime())}. ` +
      'Nothing was replaced.',
    { hint: 'Run it again later; verify checks what is stored.' },
  );
}
