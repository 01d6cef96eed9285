import type { BulkSource, RestSource } from '../binance/mod.ts';
import {
  clipRanges,
  countAllSlots,
  floorToGrid,
  type Interval,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import {
  addCounts,
  confirmedGaps,
  confirmGaps,
  fetchableRanges,
  forgetGaps,
  missingRanges,
  NOTHING_STORED,
  type StoreCounts,
  settledUntilMs,
  type Task,
  tableExists,
} from '../store/mod.ts';
import { type BulkResult, loadBulk, refreshBulk } from './bulk.ts';
import type { BulkDownload } from './bulk-loading.ts';
import { type Downloaded, downloadTwice, listedAtMs, trueGaps } from './download.ts';

export const SOURCES = ['auto', 'bulk', 'rest'] as const;
export type Source = (typeof SOURCES)[number];

export interface FetchOptions {
  interval: Interval;
  /** Unix ms; `until` is exclusive. */
  since: number;
  until: number;
  /** `auto`: bulk files first, REST for the rest. */
  source: Source;
  /** Load bulk files again if their checksum has changed. */
  refresh: boolean;
  /** Request confirmed gaps again. */
  recheckGaps: boolean;
}

/** REST pages requested at the same time. */
const PAGE_CONCURRENCY = 4;

export interface FetchedSeries extends StoreCounts {
  symbol: string;
  interval: Interval;
  /** The range that was checked: from the listing at the earliest, to the last closed candle. */
  from: string;
  to: string;
  source: Source;
  /** Still missing: `source` does not have them. */
  missing: number;
}

/**
 * Downloads the candles of one series that neither tier has in the range. What the exchange does not
 * have becomes a confirmed gap.
 * @throws KlinekeepError (65) when Binance sent rows that are not candles, twice; (78) when something
 * else has the name of the instrument's table; otherwise what the sources throw
 */
export async function fetchSeries(
  options: FetchOptions,
  sources: { rest: RestSource; bulk: BulkSource },
  { session, instrument, signal, openHelper }: Task,
  listener: {
    onPage: NonNullable<BulkDownload['onPage']>;
    onBadFile: BulkDownload['onBadFile'];
    /** Called with the number of missing candles, before the first request. */
    onMissing: (candles: number) => void;
  },
): Promise<FetchedSeries> {
  const { interval, since, until } = options;
  const series = { instrument, interval };
  const download: BulkDownload = {
    source: sources.rest,
    bulk: sources.bulk,
    openHelper,
    session,
    series,
    signal,
    concurrency: PAGE_CONCURRENCY,
    ...listener,
  };
  // Fails before anything is downloaded that could not be stored.
  await tableExists(session, instrument, 'klines');
  const nowMs = await sources.rest.serverTimeMs(instrument.market);
  const listedMs = (await listedAtMs(download)) ?? since;
  const range: TimeRange = {
    fromMs: Math.max(floorToGrid(interval, since), floorToGrid(interval, listedMs)),
    toMs: Math.min(until, floorToGrid(interval, nowMs)),
  };
  if (options.recheckGaps) await forgetGaps(session, series, range);
  const fetchable = await fetchableRanges(session, series, range);
  listener.onMissing(countAllSlots(interval, fetchable));

  const filled = await fill(options, download, range, fetchable);
  const settledMs = settledUntilMs(interval, nowMs);
  await confirmGaps(session, series, await trueGaps(download, filled, settledMs));
  // A confirmed gap may have been filled since.
  const gaps: TimeRange[] = [];
  for (const gap of clipRanges(await confirmedGaps(session, series), range)) {
    for (const each of await missingRanges(session, series, gap)) gaps.push(each);
  }
  const stillMissing = [...subtractRanges(filled.missing, gaps), ...gaps];
  return {
    symbol: instrument.symbol,
    interval,
    from: new Date(range.fromMs).toISOString(),
    to: new Date(Math.max(range.fromMs, range.toMs)).toISOString(),
    ...filled.counts,
    source: options.source,
    missing: countAllSlots(interval, stillMissing),
  };
}

/** Bulk files first, then REST for what they do not have, unless `source` allows only one of them. */
async function fill(
  { source, refresh }: FetchOptions,
  download: BulkDownload,
  range: TimeRange,
  fetchable: TimeRange[],
): Promise<Downloaded> {
  let result: BulkResult = { counts: NOTHING_STORED, missing: fetchable };
  if (source !== 'rest') {
    const refreshed = refresh ? await refreshBulk(download, range) : NOTHING_STORED;
    const loaded = await loadBulk(download, fetchable);
    result = { ...loaded, counts: addCounts(loaded.counts, refreshed) };
  }
  if (source === 'bulk' || result.missing.length === 0)
    return { ...result, missingTwice: [], hasCandles: false };

  const fromRest = await downloadTwice(download, result.missing);
  return { ...fromRest, counts: addCounts(result.counts, fromRest.counts) };
}
