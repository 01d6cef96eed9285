import {
  addSteps,
  ceilToGrid,
  countSlots,
  floorToGrid,
  type Instrument,
  type Interval,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import { missingRanges } from '../store/mod.ts';

/** A span of candles and the stored interval that they are read from. */
export interface CandleSource extends TimeRange {
  interval: Interval;
}

export interface CandlePlan {
  instrument: Instrument;
  /** The requested interval. */
  interval: Interval;
  /** Oldest first, not overlapping; all ends are on the grid of the requested interval. */
  sources: CandleSource[];
}

/** Cuts a plan down to its latest `limit` candles; slots without a candle do not count. */
export async function keepLatest(sql: Sql, plan: CandlePlan, limit: number): Promise<CandlePlan> {
  const { interval, sources } = plan;
  const [firstMs, endMs] = [sources[0]?.fromMs ?? 0, sources.at(-1)?.toMs ?? 0];
  const since = (fromMs: number): CandlePlan => ({
    ...plan,
    sources: sources
      .filter((source) => source.toMs > fromMs)
      .map((source) => ({ ...source, fromMs: Math.max(source.fromMs, fromMs) })),
  });
  // Twice as far back each time, so that a gap of years does not take thousands of queries.
  for (let slots = limit; ; slots *= 2) {
    const backMs = addSteps(interval, endMs, -slots);
    // So many months back may be no valid date.
    const fromMs = Number.isNaN(backMs) ? firstMs : Math.max(firstMs, backMs);
    const startMs = startOfLast(interval, await filledRanges(sql, since(fromMs)), limit);
    if (startMs !== undefined || fromMs === firstMs) return since(startMs ?? firstMs);
  }
}

/** Where the last `limit` slots of some ranges begin; undefined when there are fewer. */
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

/** The slots of a plan of which at least one part is stored, oldest first. */
async function filledRanges(
  sql: Sql,
  { instrument, interval, sources }: CandlePlan,
): Promise<TimeRange[]> {
  const filled: TimeRange[] = [];
  for (const source of sources) {
    const missing = await missingRanges(sql, { instrument, interval: source.interval }, source);
    const holes = missing
      .map(({ fromMs, toMs }) => ({
        fromMs: ceilToGrid(interval, fromMs),
        toMs: floorToGrid(interval, toMs),
      }))
      .filter(({ fromMs, toMs }) => fromMs < toMs);
    const { fromMs, toMs } = source;
    for (const range of subtractRanges([{ fromMs, toMs }], holes)) filled.push(range);
  }
  return filled;
}
