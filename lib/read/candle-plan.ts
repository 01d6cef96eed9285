import { KlinekeepError } from '../base/mod.ts';
import {
  addSteps,
  ceilToGrid,
  clipRanges,
  countSlots,
  divides,
  floorToGrid,
  type Instrument,
  type Interval,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import { fetchableRanges, missingRanges, type StoredSeries, storedSeries } from '../store/mod.ts';

/** A stretch of candles, and the stored interval that they are read from. */
export interface CandleSource extends TimeRange {
  interval: Interval;
}

export interface CandlePlan {
  instrument: Instrument;
  /** The interval that was asked for. */
  interval: Interval;
  /** Oldest first, not overlapping, all ends on the grid of the asked interval. */
  sources: CandleSource[];
}

export interface CandleRange {
  /** First open time, Unix ms. Default: as far back as anything is stored. */
  fromMs?: number | undefined;
  /** Open times before this, Unix ms. Default: up to the last closed candle. */
  toMs?: number | undefined;
  /** At most so many: the first ones with `fromMs`, else the latest. */
  limit?: number | undefined;
}

/**
 * Works out which stored interval each stretch is read from: the asked one where it lacks nothing,
 * else the shortest that there is. The candle still forming is left out.
 * @param nowMs a candle that ends later, and whose last part is not stored, is still forming
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

  const outer = usable.map((series) => closedSlots(interval, series, nowMs));
  const [all] = clipRanges(
    [
      {
        fromMs: Math.min(...outer.map((range) => range.fromMs)),
        toMs: Math.max(...outer.map((range) => range.toMs)),
      },
    ],
    {
      fromMs: fromMs === undefined ? 0 : ceilToGrid(interval, fromMs),
      toMs: toMs === undefined ? Number.POSITIVE_INFINITY : ceilToGrid(interval, toMs),
    },
  );
  if (!all) return { instrument, interval, sources: [] };

  const own = usable.find((series) => series.interval === interval);
  const isWhole =
    own !== undefined &&
    // Where there is nothing else to read from, holes or not do not matter.
    (usable.length === 1 ||
      (await fetchableRanges(sql, { instrument, interval }, all)).length === 0);
  const sources = isWhole ? [{ interval, ...all }] : shareOut(interval, usable, outer, all);
  const plan = { instrument, interval, sources };
  return limit === undefined || fromMs !== undefined ? plan : await latest(sql, plan, limit);
}

/** The slots of `interval` that a series has parts of, without the one that is still forming. */
function closedSlots(interval: Interval, series: StoredSeries, nowMs: number): TimeRange {
  const lastMs = floorToGrid(interval, series.lastMs);
  const endMs = addSteps(interval, lastMs, 1);
  return {
    fromMs: floorToGrid(interval, series.firstMs),
    toMs: endMs > nowMs && endOf(series) < endMs ? lastMs : endMs,
  };
}

function endOf(series: StoredSeries): number {
  return addSteps(series.interval, floorToGrid(series.interval, series.lastMs), 1);
}

/**
 * Gives each stretch to the shortest interval that reaches over whole slots of it; what is left
 * at the edges to the shortest that has any part of it.
 */
function shareOut(
  interval: Interval,
  usable: readonly StoredSeries[],
  outer: readonly TimeRange[],
  all: TimeRange,
): CandleSource[] {
  const inner = usable.map((series) => ({
    fromMs: ceilToGrid(interval, series.firstMs),
    toMs: floorToGrid(interval, endOf(series)),
  }));
  const sources: CandleSource[] = [];
  let rest = [all];
  for (const extents of [inner, outer]) {
    for (const [index, series] of usable.entries()) {
      const extent = extents[index] as TimeRange;
      const pieces = clipRanges(rest, extent);
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

/** Cuts a plan down to its latest `limit` candles; where none are stored it reaches further back. */
async function latest(sql: Sql, plan: CandlePlan, limit: number): Promise<CandlePlan> {
  const { interval } = plan;
  const [firstMs, endMs] = [plan.sources[0]?.fromMs ?? 0, plan.sources.at(-1)?.toMs ?? 0];
  const since = (fromMs: number) => ({
    ...plan,
    sources: plan.sources.flatMap((source) =>
      clipRanges([source], { fromMs, toMs: endMs }).map((range) => ({ ...source, ...range })),
    ),
  });
  // Twice as far each time, so that a hole of years takes no thousands of looks.
  for (let slots = limit; ; slots *= 2) {
    const fromMs = addSteps(interval, endMs, -slots);
    // So many months back may be no date at all.
    if (!(fromMs > firstMs)) break;
    const startMs = startOfLast(interval, await filledRanges(sql, since(fromMs)), limit);
    if (startMs !== undefined) return since(startMs);
  }
  return since(startOfLast(interval, await filledRanges(sql, plan), limit) ?? firstMs);
}

/** Where the last `limit` slots of some ranges begin; undefined when they are fewer. */
function startOfLast(
  interval: Interval,
  ranges: readonly TimeRange[],
  limit: number,
): number | undefined {
  let left = limit;
  for (const range of ranges.toReversed()) {
    const slots = countSlots(interval, range);
    if (slots >= left) return addSteps(interval, range.toMs, -left);
    left -= slots;
  }
  return undefined;
}

/** The slots of a plan that have at least one part, oldest first. */
async function filledRanges(
  sql: Sql,
  { instrument, interval, sources }: CandlePlan,
): Promise<TimeRange[]> {
  const filled: TimeRange[] = [];
  for (const source of sources) {
    const gaps = await missingRanges(sql, { instrument, interval: source.interval }, source);
    const holes = gaps
      .map(({ fromMs, toMs }) => ({
        fromMs: ceilToGrid(interval, fromMs),
        toMs: floorToGrid(interval, toMs),
      }))
      .filter(({ fromMs, toMs }) => fromMs < toMs);
    const { fromMs, toMs } = source;
    for (const each of subtractRanges([{ fromMs, toMs }], holes)) filled.push(each);
  }
  return filled;
}

function nothingStored(
  { symbol }: Instrument,
  interval: Interval,
  stored: readonly StoredSeries[],
): KlinekeepError {
  const there = stored.map((series) => series.interval).join(', ');
  return new KlinekeepError(
    'data',
    `Nothing is stored of ${symbol} that adds up to ${interval}; stored: ${there || 'nothing'}.`,
    { hint: `fetch ${symbol} --interval ${interval} fetches it.` },
  );
}
