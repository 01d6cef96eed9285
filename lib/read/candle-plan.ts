import { KlinekeepError } from '../base/mod.ts';
import {
  addSteps,
  ceilToGrid,
  clipRanges,
  divides,
  floorToGrid,
  type Instrument,
  type Interval,
  type Series,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import { fetchableRanges, type StoredSeries, storedSeries } from '../store/mod.ts';
import { type CandlePlan, type CandleSource, keepLatest } from './latest-candles.ts';

export interface CandleRange {
  /** First open time, Unix ms. Default: that of the first stored candle. */
  fromMs?: number | undefined;
  /** Open times before this, Unix ms. Default: the end of the last closed candle. */
  toMs?: number | undefined;
  /** Maximum number of candles: the first ones with `fromMs`, otherwise the latest. */
  limit?: number | undefined;
}

/**
 * Chooses the stored interval that each span is read from: the requested interval if it is complete,
 * otherwise the shortest available. Leaves out the candle that is still forming.
 * @param nowMs a candle that ends later is still forming, unless its last part is stored
 * @throws KlinekeepError (65) when nothing is stored that adds up to the interval.
 */
export async function planCandles(
  sql: Sql,
  instrument: Instrument,
  interval: Interval,
  { fromMs, toMs, limit }: CandleRange,
  nowMs: number,
): Promise<CandlePlan> {
  const stored = await storedSeries(sql, instrument);
  const usable = stored.filter((series) => divides(series.interval, interval));
  if (usable.length === 0) throw nothingStored(instrument, interval, stored);

  const extents = usable.map((series) => slotsTouched(interval, series, nowMs));
  const bounds = {
    fromMs: Math.min(...extents.map((extent) => extent.fromMs)),
    toMs: Math.max(...extents.map((extent) => extent.toMs)),
  };
  const [all] = clipRanges([bounds], {
    fromMs: fromMs === undefined ? 0 : ceilToGrid(interval, fromMs),
    toMs: toMs === undefined ? Number.POSITIVE_INFINITY : ceilToGrid(interval, toMs),
  });
  if (!all) return { instrument, interval, sources: [] };

  const sources = (await isBestSource(sql, { instrument, interval }, usable, all))
    ? [{ interval, ...all }]
    : chooseSources(interval, usable, extents, all);
  const plan = { instrument, interval, sources };
  return limit === undefined || fromMs !== undefined ? plan : await keepLatest(sql, plan, limit);
}

/** Whether the requested interval is stored and complete, or the only one that is stored. */
async function isBestSource(
  sql: Sql,
  series: Series,
  usable: readonly StoredSeries[],
  range: TimeRange,
): Promise<boolean> {
  if (!usable.some(({ interval }) => interval === series.interval)) return false;
  return usable.length === 1 || (await fetchableRanges(sql, series, range)).length === 0;
}

/** The slots of `interval` of which a series has any part, without the one that is still forming. */
function slotsTouched(interval: Interval, series: StoredSeries, nowMs: number): TimeRange {
  const lastMs = floorToGrid(interval, series.lastMs);
  const endMs = addSteps(interval, lastMs, 1);
  const isForming = endMs > nowMs && endOf(series) < endMs;
  return { fromMs: floorToGrid(interval, series.firstMs), toMs: isForming ? lastMs : endMs };
}

/** The slots of `interval` of which a series has the first and the last part. */
function slotsCovered(interval: Interval, series: StoredSeries): TimeRange {
  return {
    fromMs: ceilToGrid(interval, series.firstMs),
    toMs: floorToGrid(interval, endOf(series)),
  };
}

function endOf({ interval, lastMs }: StoredSeries): number {
  return addSteps(interval, floorToGrid(interval, lastMs), 1);
}

/**
 * Gives each span to the shortest interval that covers it; what no interval covers, at the edges, to
 * the shortest that touches it.
 * @param touched for each of `usable` its `slotsTouched`
 */
function chooseSources(
  interval: Interval,
  usable: readonly StoredSeries[],
  touched: readonly TimeRange[],
  all: TimeRange,
): CandleSource[] {
  const covered = usable.map((series) => slotsCovered(interval, series));
  const sources: CandleSource[] = [];
  let rest = [all];
  for (const extents of [covered, touched]) {
    for (const [index, series] of usable.entries()) {
      const pieces = clipRanges(rest, extents[index] as TimeRange);
      for (const piece of pieces) sources.push({ interval: series.interval, ...piece });
      rest = subtractRanges(rest, pieces);
    }
  }
  return joinNeighbours(sources.sort((a, b) => a.fromMs - b.fromMs));
}

function joinNeighbours(sources: readonly CandleSource[]): CandleSource[] {
  const joined: CandleSource[] = [];
  for (const source of sources) {
    const last = joined.at(-1);
    if (last?.interval === source.interval && last.toMs === source.fromMs) last.toMs = source.toMs;
    else joined.push({ ...source });
  }
  return joined;
}

function nothingStored(
  { symbol }: Instrument,
  interval: Interval,
  stored: readonly StoredSeries[],
): KlinekeepError {
  const intervals = stored.map((series) => series.interval).join(', ');
  const reason =
    intervals === ''
      ? 'nothing is stored'
      : `none of the stored intervals (${intervals}) adds up to ${interval}`;
  return new KlinekeepError('data', `Cannot read ${interval} candles of ${symbol}: ${reason}.`, {
    hint: `To download them: just fetch ${symbol} --interval ${interval}`,
  });
}
