import { addSteps, countSlots, floorToGrid, type Interval, subtractRanges } from '../market/mod.ts';
import {
  addCounts,
  fetchableRanges,
  restingGaps,
  type StoreCounts,
  type StoredSeries,
} from '../store/mod.ts';
import { type Downloaded, downloadTwice, formingOpenMs, listedAtMs } from './download.ts';
import { recordHoles } from './holes.ts';
import type { Download } from './pages.ts';

/** For a new series of more candles than this, the listing is looked up first. */
const LONG_LIMIT = 10_000;

export interface UpdateSeriesOptions {
  limit: number;
  /** Another run has just updated the series: only missing candles are downloaded. */
  isChecked: boolean;
  /** Also request gaps that the exchange had a moment ago. */
  retriesGaps: boolean;
}

export interface SeriesUpdate {
  counts: StoreCounts;
  /** Open time before which none of the latest `limit` candles is missing, except confirmed gaps. Unix ms. */
  completeUntilMs: number;
  /** Open time of the first candle that follows the stored ones if none came, Unix ms. It may still be forming. */
  silentFromMs: number | undefined;
}

/**
 * Updates one series from its last stored candle to the last closed one, and fills the holes among
 * the latest `limit`, or since it was last known to be complete. The last two stored candles are
 * requested again, since Binance may have corrected them. A hole that exists at the exchange too is
 * retried with growing delays, and becomes a confirmed gap when it is a day old.
 * @param stored undefined: a new series, which begins with the latest `limit` candles
 */
export async function updateSeries(
  download: Download,
  stored: StoredSeries | undefined,
  { limit, isChecked, retriesGaps }: UpdateSeriesOptions,
): Promise<SeriesUpdate> {
  const { series, session } = download;
  const { interval } = series;
  const endMs = await formingOpenMs(download);
  const latestMs = await findLatestFrom(download, stored, endMs, limit);
  if (!stored) {
    const begun = await downloadTwice(download, [{ fromMs: latestMs, toMs: endMs }]);
    return {
      counts: begun.counts,
      completeUntilMs: await recordHoles(download, begun, endMs),
      silentFromMs: begun.counts.inserted > 0 ? undefined : await firstSince(download, latestMs),
    };
  }
  const rereadMs = floorToGrid(interval, stored.secondLastMs);
  const completeUntilMs = Math.max(stored.completeUntilMs ?? latestMs, stored.firstMs);
  const fromMs = Math.min(latestMs, completeUntilMs);
  const holes = await fetchableRanges(session, series, { fromMs, toMs: rereadMs });
  const resting = retriesGaps || holes.length === 0 ? [] : await restingGaps(session, series);
  const requested = subtractRanges(holes, resting);
  const filled = await downloadTwice(download, requested);
  const tail = await downloadTwice(download, isChecked ? [] : [{ fromMs: rereadMs, toMs: endMs }]);
  const all: Downloaded = {
    counts: addCounts(filled.counts, tail.counts),
    missing: [...filled.missing, ...subtractRanges(holes, requested), ...tail.missing],
    missingTwice: [...filled.missingTwice, ...tail.missingTwice],
    // The exchange has the last two stored candles. If it does not send even these, an answer
    // without other candles proves nothing.
    hasCandles: tail.hasCandles,
  };
  const reachedMs = isChecked ? rereadMs : endMs;
  const isSilent = !isChecked && tail.counts.inserted === 0;
  return {
    counts: all.counts,
    completeUntilMs: await recordHoles(download, all, reachedMs),
    silentFromMs: isSilent
      ? addSteps(interval, floorToGrid(interval, stored.lastMs), 1)
      : undefined,
  };
}

/** The first open time from `fromMs` on at which the symbol was listed; undefined: it has no candle yet. */
async function firstSince(download: Download, fromMs: number): Promise<number | undefined> {
  const listedMs = await listedAtMs(download);
  if (listedMs === undefined) return undefined;
  return Math.max(fromMs, floorToGrid(download.series.interval, listedMs));
}

/** Where the latest `limit` candles begin, Unix ms: not before 1970, nor before the listing. */
export async function findLatestFrom(
  download: Download,
  stored: StoredSeries | undefined,
  endMs: number,
  limit: number,
): Promise<number> {
  const { interval } = download.series;
  const fromMs = stepBack(interval, endMs, limit);
  const reachesBack = stored ? fromMs < stored.firstMs : limit > LONG_LIMIT;
  if (!reachesBack) return fromMs;
  return Math.max(fromMs, floorToGrid(interval, (await listedAtMs(download)) ?? fromMs));
}

function stepBack(interval: Interval, endMs: number, steps: number): number {
  const most = countSlots(interval, { fromMs: 0, toMs: endMs });
  return addSteps(interval, endMs, -Math.min(steps, most));
}
