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
  fetchableRanges,
  forgetGaps,
  missingRanges,
  NOTHING_STORED,
  type StoreCounts,
  type Task,
  tableExists,
} from '../store/mod.ts';
import { type BulkResult, loadBulk, refreshBulk } from './bulk.ts';
import type { BulkDownload } from './bulk-loading.ts';
import { type Downloaded, downloadTwice, findFetchable, ifServed, listedAtMs } from './download.ts';
import { proveGaps } from './gap-proof.ts';
import { countOpenGaps, type OpenGapCounts } from './open-gaps.ts';
import { recheckGaps } from './recheck-gaps.ts';
import { fillEnds } from './series-ends.ts';

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

export interface FetchedSeries extends StoreCounts, OpenGapCounts {
  symbol: string;
  interval: Interval;
  /** The range that was checked: from the listing at the earliest, to the last closed candle. */
  from: string;
  to: string;
  source: Source;
  /** Still missing, those in open gaps included: `source` did not send them. */
  missing: number;
}

/**
 * Downloads the candles of one series that neither tier has in the range. Gaps of the exchange are
 * confirmed once they are proven.
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
  const listedMs = (await ifServed(instrument, () => listedAtMs(download))) ?? since;
  const range: TimeRange = {
    fromMs: Math.max(floorToGrid(interval, since), floorToGrid(interval, listedMs)),
    toMs: Math.min(until, floorToGrid(interval, nowMs)),
  };
  const rechecked = await recheck(options, download, range);
  const fetchable = await fetchableRanges(session, series, range);
  listener.onMissing(countAllSlots(interval, fetchable));

  const filled = await fill(options, download, range, fetchable);
  const { isServed } = filled;
  const ends = isServed
    ? await fillEnds(download, filled.missing)
    : { counts: NOTHING_STORED, unclear: [] };
  const missing = await findFetchable(download, filled.missing);
  const proved = await proveGaps(download, missing, { examined: [range], usesRest: isServed });
  // A confirmed gap may have been filled since.
  const gaps: TimeRange[] = [];
  for (const gap of clipRanges(await confirmedGaps(session, series), range)) {
    for (const each of await missingRanges(session, series, gap)) gaps.push(each);
  }
  const stillMissing = [...subtractRanges(proved.missing, gaps), ...gaps];
  const open = clipRanges([...proved.open, ...ends.unclear], range);
  const counts = [rechecked, filled.counts, ends.counts, proved.counts].reduce(addCounts);
  return {
    symbol: instrument.symbol,
    interval,
    from: new Date(range.fromMs).toISOString(),
    to: new Date(Math.max(range.fromMs, range.toMs)).toISOString(),
    ...counts,
    source: options.source,
    missing: countAllSlots(interval, stillMissing),
    ...(await countOpenGaps(download, open)),
  };
}

/**
 * Requests confirmed gaps of the range again, if that is wanted. Those that only a file shows are
 * requested whenever REST may have the candles.
 */
async function recheck(
  { source, recheckGaps: isWanted }: FetchOptions,
  download: BulkDownload,
  range: TimeRange,
): Promise<StoreCounts> {
  const { session, series } = download;
  if (source !== 'bulk' && series.instrument.status === 'active')
    await forgetGaps(session, series, range, { onlyFromFiles: true });
  if (!isWanted) return NOTHING_STORED;
  if (source === 'bulk') {
    await forgetGaps(session, series, range);
    return NOTHING_STORED;
  }
  const gaps = await confirmedGaps(session, series);
  const overlapping = gaps.filter(({ fromMs, toMs }) => fromMs < range.toMs && toMs > range.fromMs);
  return (await recheckGaps(download, overlapping)).counts;
}

/**
 * Bulk files first, then REST for what they do not have, unless `source` allows only one of them.
 * @returns `isServed`: REST was allowed, and knows the symbol
 */
async function fill(
  { source, refresh }: FetchOptions,
  download: BulkDownload,
  range: TimeRange,
  fetchable: TimeRange[],
): Promise<Downloaded & { isServed: boolean }> {
  let result: BulkResult = { counts: NOTHING_STORED, missing: fetchable };
  if (source !== 'rest') {
    const refreshed = refresh ? await refreshBulk(download, range) : NOTHING_STORED;
    const loaded = await loadBulk(download, fetchable);
    result = { ...loaded, counts: addCounts(loaded.counts, refreshed) };
  }
  if (source === 'bulk') return { ...result, isServed: false };
  const fromRest = await ifServed(download.series.instrument, () =>
    downloadTwice(download, result.missing),
  );
  if (!fromRest) return { ...result, isServed: false };
  return { ...fromRest, counts: addCounts(result.counts, fromRest.counts), isServed: true };
}
