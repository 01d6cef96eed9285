import {
  addSteps,
  clipRanges,
  countSlots,
  floorToGrid,
  type Interval,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import {
  addCounts,
  fetchableRanges,
  openGaps,
  type StoreCounts,
  type StoredSeries,
} from '../store/mod.ts';
import {
  type Downloaded,
  downloadTwice,
  findFetchable,
  formingOpenMs,
  listedAtMs,
} from './download.ts';
import { proveGaps } from './gap-proof.ts';
import { countOpenGaps, type OpenGapCounts } from './open-gaps.ts';
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

export interface SeriesUpdate extends OpenGapCounts {
  counts: StoreCounts;
  /** Open time before which none of the latest `limit` candles is missing, except confirmed gaps. Unix ms. */
  completeUntilMs: number;
  /** Open time of the first candle that follows the stored ones if none came, Unix ms. It may still be forming. */
  silentFromMs: number | undefined;
}

/**
 * Updates one series from its last stored candle to the last closed one, and fills the holes among
 * the latest `limit`, or since it was last known to be complete, and the gaps that any run has left
 * open. The last two stored candles are requested again, since Binance may have corrected them. A
 * hole that exists at the exchange too is retried with growing delays until it is proven.
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
      ...(await recordHoles(download, begun, { untilMs: endMs })),
      silentFromMs: begun.counts.inserted > 0 ? undefined : await firstSince(download, latestMs),
    };
  }
  const rereadMs = floorToGrid(interval, stored.secondLastMs);
  const completeUntilMs = Math.max(stored.completeUntilMs ?? latestMs, stored.firstMs);
  const fromMs = Math.min(latestMs, completeUntilMs);
  const holes = await fetchableRanges(session, series, { fromMs, toMs: rereadMs });
  const known = stored.hasOpenGaps ? await openGaps(session, series) : [];
  const resting = known.filter(({ isResting }) => isResting && !retriesGaps);
  // Those that fetch left open may begin before the latest candles.
  const earlier = subtractRanges(clipRanges(known, { fromMs: 0, toMs: fromMs }), resting);
  const requested = [
    ...(await findFetchable(download, earlier)),
    ...subtractRanges(holes, resting),
  ];
  const filled = await downloadTwice(download, requested);
  const tail = await downloadTwice(download, isChecked ? [] : [{ fromMs: rereadMs, toMs: endMs }]);
  const window = { fromMs, toMs: isChecked ? rereadMs : endMs };
  const update = await recordHoles(
    download,
    {
      counts: addCounts(filled.counts, tail.counts),
      missing: [...filled.missing, ...tail.missing],
    },
    {
      untilMs: window.toMs,
      fromMs,
      resting: clipRanges(
        holes.flatMap((hole) => clipRanges(resting, hole)),
        window,
      ),
      // Without open gaps there are none to delete.
      examined: known.length > 0 ? [...earlier, ...subtractRanges([window], resting)] : [],
    },
  );
  const isSilent = !isChecked && tail.counts.inserted === 0;
  return {
    ...update,
    silentFromMs: isSilent
      ? addSteps(interval, floorToGrid(interval, stored.lastMs), 1)
      : undefined,
  };
}

/**
 * Confirms the holes that are proven to exist at the exchange too. The others stay open.
 * @param updated what was downloaded, and what was not
 * @param options.untilMs where the download ended, Unix ms
 * @param options.fromMs where update looks for holes, Unix ms
 * @param options.resting holes that were not requested
 */
async function recordHoles(
  download: Download,
  { counts, missing }: Downloaded,
  {
    untilMs,
    fromMs = 0,
    resting = [],
    examined = [],
  }: { untilMs: number; fromMs?: number; resting?: TimeRange[]; examined?: TimeRange[] },
): Promise<Omit<SeriesUpdate, 'silentFromMs'>> {
  const proved = await proveGaps(download, missing, { examined, usesRest: true });
  const left = clipRanges([...proved.missing, ...resting], { fromMs, toMs: untilMs });
  const isOpen = examined.length > 0 || proved.open.length > 0;
  const open = isOpen ? await openGaps(download.session, download.series) : [];
  return {
    counts: addCounts(counts, proved.counts),
    completeUntilMs: left.reduce((leastMs, hole) => Math.min(leastMs, hole.fromMs), untilMs),
    ...(await countOpenGaps(download, open)),
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
