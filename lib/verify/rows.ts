import { DAY_MS, startOfDay } from '../base/mod.ts';
import { addSteps, floorToGrid, maxStepMs, rangeValues } from '../market/mod.ts';
import { runSql } from '../postgres/mod.ts';
import { type DayCounts, TIERS } from './days.ts';
import {
  type Check,
  type Finding,
  type FoundRow,
  findingsFrom,
  findingsFromSql,
  MAX_ROWS,
} from './findings.ts';
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
  return [
    ...(await checkOddRows(check)),
    ...(await checkBothTiers(check)),
    ...(await checkDoubledSlots(check)),
    ...(await checkJumps(check)),
    ...reportFlatDays(check),
  ];
}

/** Runs a check's SQL file on some days, or not at all if there are none. */
async function queryDays<Row extends object>(
  { sql, series, bounds }: SeriesCheck,
  file: string,
  days: readonly DayCounts[],
  values: Record<string, string | number> = {},
): Promise<Row[]> {
  if (days.length === 0) return [];
  return await runSql<Row>(sql, file, {
    ...rangeValues(series, bounds),
    ...values,
    shown: MAX_ROWS,
    days: days.map((day) => day.dayMs).join(','),
  });
}

/** Checks the values of each odd candle, and of the last days' candles, which may not be closed yet. */
async function checkOddRows(check: SeriesCheck): Promise<Finding[]> {
  const { series, days, nowMs } = check;
  const formingMs = addSteps(series.interval, floorToGrid(series.interval, nowMs), -1);
  const findings = new Map<string, Finding>();
  for (const tier of TIERS) {
    const odd = days.filter(
      (day) => day.odd[tier] > 0 || (day.dayMs >= startOfDay(formingMs) && day.rows[tier] > 0),
    );
    const file = 'verify/odd_rows.sql';
    const rows = await queryDays<FoundRow & { check_name: Check }>(check, file, odd, { tier });
    for (const name of new Set(rows.map((row) => row.check_name))) {
      const same = rows.filter((row) => row.check_name === name);
      for (const finding of findingsFromSql(series, name, same)) {
        const key = `${name} ${finding.isPublished}`;
        const other = findings.get(key);
        finding.count += other?.count ?? 0;
        finding.rows.unshift(...(other?.rows ?? []));
        findings.set(key, finding);
      }
    }
  }
  return [...findings.values()];
}

async function checkBothTiers(check: SeriesCheck): Promise<Finding[]> {
  const shared = check.days.filter((day) => TIERS.every((tier) => day.rows[tier] > 0));
  const file = 'verify/in_both_tiers.sql';
  const rows = await queryDays<FoundRow & { is_same: boolean }>(check, file, shared);
  return findingsFromSql(
    check.series,
    'in-both-tiers',
    rows.map((row) => ({ ...row, detail: row.is_same ? 'identical' : 'with different values' })),
  );
}

async function checkDoubledSlots(check: SeriesCheck): Promise<Finding[]> {
  const odd = check.days.filter((day) => TIERS.some((tier) => day.odd[tier] > 0));
  // The other candle of a slot that is longer than a day may be on another day.
  const reachMs = Math.max(0, maxStepMs(check.series.interval) - DAY_MS);
  const near = check.days.filter((day) =>
    odd.some((each) => Math.abs(each.dayMs - day.dayMs) <= reachMs),
  );
  const file = 'verify/doubled_slots.sql';
  const rows = await queryDays<FoundRow & { candles: number }>(check, file, near);
  return findingsFromSql(
    check.series,
    'doubled-slot',
    rows.map((row) => ({ ...row, detail: `${row.candles} candles in one slot` })),
  );
}

async function checkJumps(check: SeriesCheck): Promise<Finding[]> {
  const { series, days } = check;
  const wild = new Set<DayCounts>();
  for (const [index, day] of days.entries()) {
    const next = days[index + 1] ?? day;
    const highest = Math.max(day.highestPrice, next.highestPrice);
    const lowest = Math.min(day.lowestPrice, next.lowestPrice);
    if (highest > lowest * JUMP_RATIO * ROUNDING) wild.add(day).add(next);
  }
  const rows = await queryDays<FoundRow>(check, 'verify/jumps.sql', [...wild], {
    ratio: JUMP_RATIO,
    wick_ratio: WICK_RATIO,
    with_wicks: String(maxStepMs(series.interval) <= WICKS_UP_TO_MS),
  });
  return findingsFromSql(series, 'jump', rows);
}

function reportFlatDays({ series, days }: SeriesCheck): Finding[] {
  const flat = days.filter((day) => day.flat > 0);
  const rows = flat.map(({ dayMs, flat }) => ({
    fromMs: dayMs,
    toMs: dayMs + DAY_MS,
    detail: `(${flat})`,
  }));
  return findingsFrom(series, 'flat', rows, {
    count: flat.reduce((sum, day) => sum + day.flat, 0),
  });
}
