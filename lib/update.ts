import { KlinekeepError } from './errors.ts';
import { type Download, downloadRanges, forEachPage, listedAtMs } from './history.ts';
import { addSteps, floorToGrid, type TimeRange } from './intervals.ts';
import type { RejectedKline } from './kline-codec.ts';
import {
  encoderFor,
  ensureTable,
  merge,
  type StoreCounts,
  stage,
  storeRejected,
} from './klines.ts';
import { lockedTransaction } from './locks.ts';
import { missingRanges, type StoredSeries } from './series.ts';
import { runSql, type Sql } from './sql-file.ts';
import { formatShort } from './time.ts';

/**
 * Brings one series from its last stored candle to the last closed one, and fills what is
 * missing among the latest `limit`. The last two stored candles are asked for again: Binance
 * may still have corrected them.
 * @param stored undefined: a new series, which begins with the latest `limit` candles
 */
export async function updateSeries(
  download: Download,
  stored: StoredSeries | undefined,
  limit: number,
): Promise<StoreCounts> {
  const { series, session } = download;
  const { interval } = series;
  const endMs = await formingOpenMs(download);
  let latestMs = addSteps(interval, endMs, -limit);
  if (!stored) return await downloadRanges(download, [{ fromMs: latestMs, toMs: endMs }]);

  if (latestMs < stored.firstMs) {
    const listedMs = await listedAtMs(download);
    if (listedMs !== undefined) latestMs = Math.max(latestMs, floorToGrid(interval, listedMs));
  }
  const rereadMs = floorToGrid(interval, stored.secondLastMs);
  const holes = await missingRanges(session, series, { fromMs: latestMs, toMs: rereadMs });
  return await downloadRanges(download, [...holes, { fromMs: rereadMs, toMs: endMs }]);
}

/**
 * Downloads the latest `limit` candles again, or all that klines holds of the series, and puts
 * them in place of the stored ones in one transaction after the last page has arrived. Readers
 * see the old candles or the new ones. What is archived is left alone.
 * @throws KlinekeepError (1) when the exchange sends fewer candles than are stored: nothing changes
 */
export async function replaceSeries(
  download: Download,
  stored: StoredSeries | undefined,
  limit: number | undefined,
): Promise<StoreCounts> {
  const { series, session } = download;
  const { instrument, interval } = series;
  const endMs = await formingOpenMs(download);
  const fromMs =
    limit === undefined
      ? floorToGrid(interval, stored?.firstHotMs ?? endMs)
      : addSteps(interval, endMs, -limit);
  const range = { fromMs, toMs: endMs };

  const rejected: RejectedKline[] = [];
  await runSql(session, 'klines/create_staging.sql');
  await forEachPage(download, [range], async (page, slots) => {
    const encoder = encoderFor(series, page);
    await stage(session, encoder);
    rejected.push(...encoder.rejected);
    download.onPage?.({
      slots,
      untilMs: page.asked.toMs,
      counts: { inserted: 0, revised: 0, rejected: 0 },
    });
  });

  return await lockedTransaction(session, instrument.id, '', async (tx) => {
    const stagedRows = await refuseShorterAnswer(download, range, tx);
    if (stagedRows === 0) return { inserted: 0, revised: 0, rejected: 0 };
    await ensureTable(tx, instrument);
    await runSql(tx, 'klines/delete_unstaged.sql', bounds(download, range));
    const counts = await merge(tx, series);
    await storeRejected(tx, series, 'rest', rejected);
    return { ...counts, rejected: rejected.length };
  });
}

/** @returns how many candles are staged for the range */
async function refuseShorterAnswer(download: Download, range: TimeRange, tx: Sql): Promise<number> {
  const [found] = await runSql<{ stored_rows: number; staged_rows: number }>(
    tx,
    'klines/compare_staged.sql',
    bounds(download, range),
  );
  const { stored_rows: storedRows, staged_rows: stagedRows } = found as {
    stored_rows: number;
    staged_rows: number;
  };
  if (stagedRows >= storedRows) return stagedRows;
  throw new KlinekeepError(
    'failed',
    `Binance sent ${stagedRows} candles for ${formatShort(range.fromMs)} to ${formatShort(range.toMs)} ` +
      `where ${storedRows} are stored. Nothing was replaced.`,
    { hint: 'Run it again later; verify-integrity tells whether what is stored is sound.' },
  );
}

function bounds({ series }: Download, range: TimeRange) {
  return {
    instrument_id: series.instrument.id,
    interval: series.interval,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
  };
}

/** The open time of the candle that is still forming by the exchange's clock, Unix ms. */
async function formingOpenMs({ source, series }: Download): Promise<number> {
  return floorToGrid(series.interval, await source.serverTimeMs(series.instrument.market));
}
