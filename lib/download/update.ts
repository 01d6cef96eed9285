import { describeError } from '../base/mod.ts';
import { type RestSource, ShutOutError, UnknownSymbolError } from '../binance/mod.ts';
import { addSteps, type Interval } from '../market/mod.ts';
import { isLockTableFull } from '../postgres/mod.ts';
import {
  addCounts,
  markEnded,
  markForCheck,
  NOTHING_STORED,
  recordCheck,
  type StoreCounts,
  type StoredSeries,
  storedSeries,
  type Task,
} from '../store/mod.ts';
import type { OpenGapCounts } from './open-gaps.ts';
import type { Download } from './pages.ts';
import { replaceSeries } from './replace-series.ts';
import { updateSeries } from './update-series.ts';

export interface UpdateOptions {
  /** Undefined: all that are stored. */
  interval: Interval | undefined;
  /** Undefined: the default, or all with `force`. */
  limit: number | undefined;
  force: boolean;
  /** By the database's clock, Unix ms: series that another run has updated since then are done. */
  startedMs: number;
}

/** How many of the latest candles a series must have by default. */
export const DEFAULT_LIMIT = 100;
/** One page is requested while another one is stored. */
const PAGE_CONCURRENCY = 2;
/** The exchange publishes a candle within seconds of its close. */
const PUBLISHED_WITHIN_MS = 10_000;

export interface UpdatedSeries extends StoreCounts, OpenGapCounts {
  symbol: string;
  interval: Interval;
  requests: number;
  seconds: number;
  /**
   * For how long the first candle has been closed that the exchange should have sent after the stored
   * ones; 0: the series has not stalled.
   */
  stalledSeconds: number;
}

export interface UpdatedInstrument {
  series: UpdatedSeries[];
  /** `symbol` names the series: `BTC/USDT 1m`. */
  failed: { symbol: string; error: string }[];
}

export interface UpdateListener {
  onDone: (series: UpdatedSeries) => void;
  onFailed: (series: string, error: unknown) => void;
}

/**
 * Updates the series of one instrument; one that fails does not stop the others. A delisted
 * instrument is updated to its last candle, once. One that the exchange no longer knows, or that
 * has stalled, is marked for the next run to look up.
 * @throws the failure of the only series; ShutOutError; the signal's reason
 */
export async function updateInstrument(
  source: RestSource,
  turn: Task,
  options: UpdateOptions,
  { onDone, onFailed }: UpdateListener,
): Promise<UpdatedInstrument> {
  const { session, instrument, signal } = turn;
  const { symbol } = instrument;
  const isActive = instrument.status === 'active';
  const stored = await storedSeries(session, instrument, options.interval && [options.interval]);
  const intervals =
    options.interval && isActive ? [options.interval] : stored.map((series) => series.interval);
  const updated: UpdatedInstrument = { series: [], failed: [] };
  for (const interval of intervals) {
    const known = stored.find((series) => series.interval === interval);
    try {
      const series = await updateOne(source, turn, interval, known, options);
      updated.series.push(series);
      onDone(series);
    } catch (error) {
      const isUnknown = error instanceof UnknownSymbolError;
      if (isUnknown && !isActive) {
        // The exchange dropped it before its last candles were requested: there are no more.
        const nothing = { ...NOTHING_STORED, requests: 0, seconds: 0, stalledSeconds: 0 };
        const gaps = { openGaps: 0, oldOpenGaps: 0 };
        updated.series.push({ symbol, interval, ...nothing, ...gaps });
        continue;
      }
      if (isUnknown) await markForCheck(session, instrument);
      if (intervals.length === 1 || signal.aborted || error instanceof ShutOutError) throw error;
      // The whole instrument is tried again.
      if (isLockTableFull(error)) throw error;
      updated.failed.push({ symbol: `${symbol} ${interval}`, error: describeError(error) });
      onFailed(`${symbol} ${interval}`, error);
    }
  }
  if (updated.series.some((series) => series.stalledSeconds > 0))
    await markForCheck(session, instrument);
  if (!isActive && !options.interval && updated.failed.length === 0)
    await markEnded(session, instrument);
  return updated;
}

async function updateOne(
  source: RestSource,
  { session, instrument, signal }: Task,
  interval: Interval,
  stored: StoredSeries | undefined,
  { limit, force, startedMs }: UpdateOptions,
): Promise<UpdatedSeries> {
  const beginMs = performance.now();
  let requests = 0;
  const download: Download = {
    source,
    session,
    series: { instrument, interval },
    signal,
    concurrency: PAGE_CONCURRENCY,
    onRequest: () => {
      requests += 1;
    },
  };
  const isActive = instrument.status === 'active';
  const isChecked = (stored?.checkedAtMs ?? 0) > startedMs;
  const replaced = force && stored ? await replaceSeries(download, stored, limit) : NOTHING_STORED;
  const update = await updateSeries(download, stored, {
    limit: limit ?? DEFAULT_LIMIT,
    isChecked,
    // A delisted instrument is updated only once more.
    retriesGaps: force || !isActive,
  });
  const counts = addCounts(replaced, update.counts);
  const tookMs = performance.now() - beginMs;
  await recordCheck(session, download.series, tookMs, update.completeUntilMs);
  const stalledMs = isActive ? await countStalledMs(download, update.silentFromMs) : 0;
  return {
    symbol: instrument.symbol,
    interval,
    ...counts,
    openGaps: update.openGaps,
    oldOpenGaps: update.oldOpenGaps,
    requests,
    seconds: Number((tookMs / 1000).toFixed(3)),
    stalledSeconds: Math.floor(stalledMs / 1000),
  };
}

/** For how long the candle that opens at `silentFromMs` has been closed; 0: it may still be published. */
async function countStalledMs(
  { source, series }: Download,
  silentFromMs: number | undefined,
): Promise<number> {
  if (silentFromMs === undefined) return 0;
  const closedMs = addSteps(series.interval, silentFromMs, 1);
  const silentMs = (await source.serverTimeMs(series.instrument.market)) - closedMs;
  return silentMs < PUBLISHED_WITHIN_MS ? 0 : silentMs;
}
