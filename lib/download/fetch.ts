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
  confirmedGaps,
  confirmGaps,
  fetchableRanges,
  forgetGaps,
  missingRanges,
  settledUntilMs,
  type Task,
  tableExists,
} from '../store/mod.ts';
import { type BulkResult, loadBulk, refreshBulk } from './bulk.ts';
import type { BulkDownload } from './bulk-loading.ts';
import { addCounts, type Downloaded, downloadTwice, listedAtMs, trueGaps } from './pages.ts';

export const SOURCES = ['auto', 'bulk', 'rest'] as const;
export type Source = (typeof SOURCES)[number];

export interface FetchOptions {
  interval: Interval;
  /** Unix ms; `until` is exclusive. */
  since: number;
  until: number;
  /** `auto`: bulk files first, REST for the rest. */
  source: Source;
  /** Load bulk files again whose checksum changed. */
  refresh: boolean;
  /** Ask again for what the exchange did not have. */
  recheckGaps: boolean;
}

/** REST pages asked for at the same time. */
const PAGE_CONCURRENCY = 4;

export interface FetchedSeries {
  symbol: string;
  interval: Interval;
  /** The range that was looked at: from the listing at the earliest, to the last closed candle. */
  from: string;
  to: string;
  inserted: number;
  revised: number;
  rejected: number;
  source: Source;
  /** Missing still: `source` does not have them. */
  missing: number;
}

/**
 * Downloads what is missing of one series in the range, hot and archived candles together. What
 * the exchange does not have becomes a confirmed gap.
 */
export async function fetchSeries(
  options: FetchOptions,
  sources: { rest: RestSource; bulk: BulkSource },
  { session, instrument, signal, openHelper }: Task,
  listener: {
    onPage: NonNullable<BulkDownload['onPage']>;
    onBadFile: BulkDownload['onBadFile'];
    /** Told how many candles are missing, before the first is asked for. */
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
    onPage: listener.onPage,
    onBadFile: listener.onBadFile,
  };
  // Before anything is downloaded that could not be stored.
  await tableExists(session, instrument, 'klines');
  const nowMs = await download.source.serverTimeMs(instrument.market);
  const listedMs = (await listedAtMs(download)) ?? since;
  const range: TimeRange = {
    fromMs: Math.max(floorToGrid(interval, since), floorToGrid(interval, listedMs)),
    toMs: Math.min(until, floorToGrid(interval, nowMs)),
  };
  if (options.recheckGaps) await forgetGaps(session, series, range);
  const fetchable = await fetchableRanges(session, series, range);
  listener.onMissing(countAllSlots(interval, fetchable));

  const filled = await fillFrom(options, download, range, fetchable);
  const { counts, missing } = filled;
  const settledMs = settledUntilMs(interval, nowMs);
  await confirmGaps(session, series, await trueGaps(download, filled, settledMs));
  // A gap that was confirmed once may have been filled since.
  const gaps: TimeRange[] = [];
  for (const gap of clipRanges(await confirmedGaps(session, series), range)) {
    for (const each of await missingRanges(session, series, gap)) gaps.push(each);
  }
  const stillMissing = [...subtractRanges(missing, gaps), ...gaps];
  return {
    symbol: instrument.symbol,
    interval,
    from: new Date(range.fromMs).toISOString(),
    to: new Date(Math.max(range.fromMs, range.toMs)).toISOString(),
    ...counts,
    source: options.source,
    missing: countAllSlots(interval, stillMissing),
  };
}

/** Bulk files first, REST for the rest; `--source` allows only one of them. */
async function fillFrom(
  options: FetchOptions,
  download: BulkDownload,
  range: TimeRange,
  fetchable: TimeRange[],
): Promise<Downloaded> {
  let result: BulkResult = { counts: { inserted: 0, revised: 0, rejected: 0 }, missing: fetchable };
  if (options.source !== 'rest') {
    const refreshed = options.refresh ? await refreshBulk(download, range) : result.counts;
    result = await loadBulk(download, fetchable);
    result.counts = addCounts(result.counts, refreshed);
  }
  if (options.source === 'bulk' || result.missing.length === 0)
    return { ...result, lackedTwice: [], hasSent: false };

  const asked = await downloadTwice(download, result.missing);
  return { ...asked, counts: addCounts(result.counts, asked.counts) };
}
