import { DAY_MS, startOfDay } from '../base/mod.ts';
import { addSteps, floorToGrid, maxStepMs, rangeValues } from '../market/mod.ts';
import type { SqlValues } from '../postgres/mod.ts';
import { type DayCounts, isInBothTiers } from './days.ts';
import { type Finding, findingsFrom } from './findings.ts';
import { findCandles } from './found-candles.ts';
import type { SeriesCheck } from './series-check.ts';

/** A candle has jumped if it opens this many times above or below the last close. */
const JUMP_RATIO = 1.5;
/** A short candle has jumped, too, if it reaches this many times beyond its open and close. */
const WICK_RATIO = 2;
const WICKS_UP_TO_MS = 3_600_000;
/** Days are compared as doubles, candles as exact decimals. */
const ROUNDING = 1 - 1e-9;

/**
 * Finds what is wrong with single candles, and between neighbours. Looks only at days whose
 * counts call for it.
 */
export async function checkRows(check: SeriesCheck): Promise<Finding[]> {
  const { days } = check;
  return [
    ...(await findOnDays(check, 'verify/odd_rows.sql', daysWithOddRows(check), {
      now: new Date(check.nowMs),
    })),
    ...(await findOnDays(check, 'verify/in_both_tiers.sql', days.filter(isInBothTiers))),
    ...(await findOnDays(check, 'verify/doubled_slots.sql', daysWithDoubledSlots(check))),
    ...(await findOnDays(check, 'verify/jumps.sql', daysWithJumps(check), {
      ratio: JUMP_RATIO,
      wick_ratio: WICK_RATIO,
      with_wicks: String(maxStepMs(check.series.interval) <= WICKS_UP_TO_MS),
    })),
    ...reportFlatDays(check),
  ];
}

/** Runs a check's SQL file on some days, or not at all if there are none. */
async function findOnDays(
  { sql, series, bounds }: SeriesCheck,
  file: string,
  days: readonly DayCounts[],
  values: SqlValues = {},
): Promise<Finding[]> {
  if (days.length === 0) return [];
  return await findCandles(sql, series, file, {
    ...rangeValues(series, bounds),
    ...values,
    days: days.map((day) => day.dayMs).join(','),
  });
}

/** The days with odd candles, and the last ones, whose candles may not be closed yet. */
function daysWithOddRows({ series, days, nowMs }: SeriesCheck): DayCounts[] {
  const formingMs = addSteps(series.interval, floorToGrid(series.interval, nowMs), -1);
  return days.filter((day) => day.oddRows > 0 || day.dayMs >= startOfDay(formingMs));
}

/** The days with odd candles, one of which may be the second one in its slot. */
function daysWithDoubledSlots({ series, days }: SeriesCheck): DayCounts[] {
  const odd = days.filter((day) => day.oddRows > 0);
  // The other candle of a slot that is longer than a day may be on another day.
  const reachMs = Math.max(0, maxStepMs(series.interval) - DAY_MS);
  return days.filter((day) => odd.some((each) => Math.abs(each.dayMs - day.dayMs) <= reachMs));
}

/** The days whose prices lie far apart, or far from those of the next day. */
function daysWithJumps({ days }: SeriesCheck): DayCounts[] {
  const wild = new Set<DayCounts>();
  for (const [index, day] of days.entries()) {
    const next = days[index + 1] ?? day;
    const highest = Math.max(day.highestPrice, next.highestPrice);
    const lowest = Math.min(day.lowestPrice, next.lowestPrice);
    if (highest > lowest * JUMP_RATIO * ROUNDING) wild.add(day).add(next);
  }
  return [...wild];
}

function reportFlatDays({ series, days }: SeriesCheck): Finding[] {
  const flat = days.filter((day) => day.flatRows > 0);
  const rows = flat.map(({ dayMs, flatRows }) => ({
    fromMs: dayMs,
    toMs: dayMs + DAY_MS,
    detail: `(${flatRows})`,
  }));
  const count = flat.reduce((sum, day) => sum + day.flatRows, 0);
  return findingsFrom(series, 'flat', rows, { count });
}
