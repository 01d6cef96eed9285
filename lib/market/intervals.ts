import { addMonths, DAY_MS, spanForSql, startOfMonth, toUtc } from '../base/mod.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

interface Grid {
  /** Distance between two open times; for months the longest one. */
  stepMs: number;
  /** An open time of the grid, Unix ms: 3d counts from 1970-01-02, 1w from Monday 1970-01-05. */
  originMs: number;
  calendarMonths?: true;
}

const fixed = (stepMs: number, originMs = 0): Grid => ({ stepMs, originMs });

/** Binance's intervals and the grid on which each opens, in UTC. Only spot has 1s. */
const GRIDS = {
  '1s': fixed(SECOND_MS),
  '1m': fixed(MINUTE_MS),
  '3m': fixed(3 * MINUTE_MS),
  '5m': fixed(5 * MINUTE_MS),
  '15m': fixed(15 * MINUTE_MS),
  '30m': fixed(30 * MINUTE_MS),
  '1h': fixed(HOUR_MS),
  '2h': fixed(2 * HOUR_MS),
  '4h': fixed(4 * HOUR_MS),
  '6h': fixed(6 * HOUR_MS),
  '8h': fixed(8 * HOUR_MS),
  '12h': fixed(12 * HOUR_MS),
  '1d': fixed(DAY_MS),
  '3d': fixed(3 * DAY_MS, DAY_MS),
  '1w': fixed(7 * DAY_MS, 4 * DAY_MS),
  '1M': { stepMs: 31 * DAY_MS, originMs: 0, calendarMonths: true },
} as const satisfies Record<string, Grid>;

export type Interval = keyof typeof GRIDS;

/** Every interval, shortest first. */
export const INTERVALS = Object.keys(GRIDS) as readonly Interval[];

export function isInterval(text: string): text is Interval {
  return Object.hasOwn(GRIDS, text);
}

/** The longest distance between two neighbours on the grid, in ms. A longer one is a gap. */
export function maxStepMs(interval: Interval): number {
  return GRIDS[interval].stepMs;
}

/** Whether candles of `part` add up to those of `whole`: each of `whole` opens where one of `part` does. */
export function divides(part: Interval, whole: Interval): boolean {
  const [inner, outer]: Grid[] = [GRIDS[part], GRIDS[whole]];
  if (inner!.calendarMonths) return part === whole;
  const stepMs = outer!.calendarMonths ? DAY_MS : outer!.stepMs;
  const apartMs = outer!.originMs - inner!.originMs;
  return stepMs % inner!.stepMs === 0 && apartMs % inner!.stepMs === 0;
}

/** The distance between two open times as PostgreSQL writes it; `1M` is a calendar month. */
export function stepForSql(interval: Interval): string {
  const grid: Grid = GRIDS[interval];
  return grid.calendarMonths ? '1 month' : spanForSql(grid.stepMs);
}

/** The last open time of the grid at or before `timeMs`, Unix ms. */
export function floorToGrid(interval: Interval, timeMs: number): number {
  const grid: Grid = GRIDS[interval];
  if (grid.calendarMonths) return startOfMonth(toUtc(timeMs)).getTime();
  return Math.floor((timeMs - grid.originMs) / grid.stepMs) * grid.stepMs + grid.originMs;
}

/** The first open time of the grid at or after `timeMs`, Unix ms. */
export function ceilToGrid(interval: Interval, timeMs: number): number {
  const floor = floorToGrid(interval, timeMs);
  return floor === timeMs ? floor : addSteps(interval, floor, 1);
}

/** The open time `steps` candles after (before, if negative) `openMs`, which is on the grid. */
export function addSteps(interval: Interval, openMs: number, steps: number): number {
  const grid: Grid = GRIDS[interval];
  if (grid.calendarMonths) return addMonths(toUtc(openMs), steps).getTime();
  return openMs + steps * grid.stepMs;
}

/** The distance of two open times of the grid, in candles; negative when `toMs` is the earlier one. */
export function countSteps(interval: Interval, fromMs: number, toMs: number): number {
  const grid: Grid = GRIDS[interval];
  if (!grid.calendarMonths) return (toMs - fromMs) / grid.stepMs;
  const months = (ms: number) => toUtc(ms).getUTCFullYear() * 12 + toUtc(ms).getUTCMonth();
  return months(toMs) - months(fromMs);
}
