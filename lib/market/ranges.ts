import { addSteps, ceilToGrid, countSteps, floorToGrid, type Interval } from './intervals.ts';

/** A half-open span of open times, Unix ms: `fromMs <= open time < toMs`. */
export interface TimeRange {
  fromMs: number;
  toMs: number;
}

/** How many open times of the grid lie in `range`. */
export function countSlots(interval: Interval, range: TimeRange): number {
  const fromMs = ceilToGrid(interval, range.fromMs);
  const toMs = ceilToGrid(interval, range.toMs);
  return Math.max(0, countSteps(interval, fromMs, toMs));
}

/**
 * Cuts ranges into consecutive windows of at most `slots` candles each, oldest first.
 * Together the windows cover exactly the grid's open times in the ranges.
 */
export function* splitIntoWindows(
  interval: Interval,
  ranges: readonly TimeRange[],
  slots: number,
): Generator<TimeRange> {
  for (const range of ranges) {
    const endMs = ceilToGrid(interval, range.toMs);
    for (let fromMs = ceilToGrid(interval, range.fromMs); fromMs < endMs; ) {
      const toMs = Math.min(addSteps(interval, fromMs, slots), endMs);
      yield { fromMs, toMs };
      fromMs = toMs;
    }
  }
}

/**
 * Turns pairs of stored neighbours that are more than one step apart into the ranges that are
 * missing between them. A neighbour off the grid covers the slot that it lies in.
 */
export function missingBetween(
  interval: Interval,
  pairs: readonly { beforeMs: number; afterMs: number }[],
): TimeRange[] {
  return pairs
    .map(({ beforeMs, afterMs }) => ({
      fromMs: addSteps(interval, floorToGrid(interval, beforeMs), 1),
      toMs: floorToGrid(interval, afterMs),
    }))
    .filter(({ fromMs, toMs }) => fromMs < toMs);
}

/** How many open times of the grid lie in the ranges together. */
export function countAllSlots(interval: Interval, ranges: readonly TimeRange[]): number {
  return ranges.reduce((sum, range) => sum + countSlots(interval, range), 0);
}

/** The part of each range that lies in `bounds`. */
export function clipRanges(ranges: readonly TimeRange[], bounds: TimeRange): TimeRange[] {
  return ranges
    .map((range) => ({
      fromMs: Math.max(range.fromMs, bounds.fromMs),
      toMs: Math.min(range.toMs, bounds.toMs),
    }))
    .filter((range) => range.fromMs < range.toMs);
}

/** `ranges` without `holes`; both oldest first, holes may overlap. */
export function subtractRanges(
  ranges: readonly TimeRange[],
  holes: readonly TimeRange[],
): TimeRange[] {
  return holes.reduce<TimeRange[]>(
    (left, hole) =>
      left.flatMap((range) =>
        [
          { fromMs: range.fromMs, toMs: Math.min(range.toMs, hole.fromMs) },
          { fromMs: Math.max(range.fromMs, hole.toMs), toMs: range.toMs },
        ].filter((part) => part.fromMs < part.toMs),
      ),
    [...ranges],
  );
}

/**
 * The slots that contain the open times, as ranges, oldest first.
 * @param apart slots that are at most this many slots apart become one range
 */
export function slotRanges(interval: Interval, timesMs: readonly number[], apart = 0): TimeRange[] {
  const ranges: TimeRange[] = [];
  for (const timeMs of [...timesMs].sort((a, b) => a - b)) {
    const fromMs = floorToGrid(interval, timeMs);
    const toMs = addSteps(interval, fromMs, 1);
    const last = ranges.at(-1);
    if (last && fromMs <= addSteps(interval, last.toMs, apart)) {
      last.toMs = Math.max(last.toMs, toMs);
    } else {
      ranges.push({ fromMs, toMs });
    }
  }
  return ranges;
}
