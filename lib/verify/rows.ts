import { DAY_MS, startOfDay } from '../base/mod.ts';
import {
  addSteps,
  floorToGrid,
  maxStepMs,
  rangeValues,
  type Series,
  type TimeRange,
} from '../market/mod.ts';
import { runSql, type Sql, type SqlValues } from '../postgres/mod.ts';
import { type DayCounts, listDays, TIERS, type TierTable } from './days.ts';
import { type Check, type Finding, findingOf, MAX_ROWS } from './findings.ts';

/** A candle that opens this many times above or below the last close has jumped. */
const JUMP_RATIO = 1.5;
/** A short candle that reaches this many times beyond its open and close, too. */
const WICK_RATIO = 2;
const WICKS_UP_TO_MS = 3_600_000;
/** Days are picked by doubles, candles by exact decimals. */
const ROUNDING = 1 - 1e-9;

/**
 * Everything that is wrong with single candles of a series, and between neighbours. Looks only
 * at the days that the count points at.
 */
export async function checkDays(
  sql: Sql,
  series: Series,
  days: ReadonlyMap<number, DayCounts>,
  bounds: TimeRange,
  nowMs: number,
): Promise<Finding[]> {
  const all = [...days.values()].sort((a, b) => a.dayMs - b.dayMs);
  const values = { ...rangeValues(series, bounds), shown: MAX_ROWS };
  const formingMs = addSteps(series.interval, floorToGrid(series.interval, nowMs), -1);
  return [
    ...(await checkOddRows(sql, series, all, startOfDay(formingMs), values)),
    ...(await checkBothTiers(sql, series, all, values)),
    ...(await checkDoubledSlots(sql, series, all, values)),
    ...(await checkJumps(sql, series, all, values)),
    ...flatFinding(series, all),
  ];
}

interface OddRow {
  check_name: Check;
  open_time: Date;
  detail: string;
  row_hash: string;
  is_published: boolean;
  found: number;
}

/** @param formingDayMs from this day on a candle may look right and not be closed yet */
async function checkOddRows(
  sql: Sql,
  series: Series,
  days: readonly DayCounts[],
  formingDayMs: number,
  values: SqlValues,
): Promise<Finding[]> {
  const found = new Map<string, Finding>();
  for (const tier of TIERS) {
    const odd = days.filter(
      (day) => day.odd[tier] > 0 || (day.dayMs >= formingDayMs && day.rows[tier] > 0),
    );
    if (odd.length === 0) continue;
    const rows = await runSql<OddRow>(sql, 'verify/odd_rows.sql', {
      ...values,
      tier,
      days: listDays(odd),
    });
    for (const [key, same] of groupRows(rows)) {
      const [first] = same as [OddRow];
      const finding =
        found.get(key) ??
        findingOf(series, first.check_name, 0, [], { isPublished: first.is_published });
      found.set(key, finding);
      finding.count += first.found;
      for (const row of same) {
        finding.rows.push({
          fromMs: row.open_time.getTime(),
          detail: row.detail,
          rowHash: row.row_hash,
        });
      }
    }
  }
  return [...found.values()];
}

function groupRows(rows: readonly OddRow[]): Map<string, OddRow[]> {
  const groups = new Map<string, OddRow[]>();
  for (const row of rows) {
    const key = `${row.check_name} ${row.is_published}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return groups;
}

async function checkBothTiers(
  sql: Sql,
  series: Series,
  days: readonly DayCounts[],
  values: SqlValues,
): Promise<Finding[]> {
  const shared = days.filter((day) => day.rows.klines > 0 && day.rows.klines_archive > 0);
  if (shared.length === 0) return [];
  const rows = await runSql<{ open_time: Date; is_same: boolean; found: number }>(
    sql,
    'verify/in_both_tiers.sql',
    { ...values, days: listDays(shared) },
  );
  if (rows.length === 0) return [];
  return [
    findingOf(
      series,
      'in-both-tiers',
      rows[0]!.found,
      rows.map((row) => ({
        fromMs: row.open_time.getTime(),
        detail: row.is_same ? 'the same' : 'with different content',
      })),
    ),
  ];
}

async function checkDoubledSlots(
  sql: Sql,
  series: Series,
  days: readonly DayCounts[],
  values: SqlValues,
): Promise<Finding[]> {
  const odd = days.filter((day) => TIERS.some((tier: TierTable) => day.odd[tier] > 0));
  if (odd.length === 0) return [];
  // Of a slot longer than a day the other candle may lie on another one.
  const reachMs = Math.max(0, maxStepMs(series.interval) - DAY_MS);
  const wanted = days.filter((day) =>
    odd.some((each) => Math.abs(each.dayMs - day.dayMs) <= reachMs),
  );
  const rows = await runSql<{
    open_time: Date;
    candles: number;
    row_hash: string;
    is_published: boolean;
    found: number;
  }>(sql, 'verify/doubled_slots.sql', { ...values, days: listDays(wanted) });
  return [false, true].flatMap((isPublished) => {
    const same = rows.filter((row) => row.is_published === isPublished);
    if (same.length === 0) return [];
    return [
      findingOf(
        series,
        'doubled-slot',
        same[0]!.found,
        same.map((row) => ({
          fromMs: row.open_time.getTime(),
          detail: `${row.candles} candles in one slot`,
          rowHash: row.row_hash,
        })),
        { isPublished },
      ),
    ];
  });
}

async function checkJumps(
  sql: Sql,
  series: Series,
  days: readonly DayCounts[],
  values: SqlValues,
): Promise<Finding[]> {
  const wild = new Set<DayCounts>();
  for (const [index, day] of days.entries()) {
    const next = days[index + 1] ?? day;
    const highest = Math.max(day.highestPrice, next.highestPrice);
    const lowest = Math.min(day.lowestPrice, next.lowestPrice);
    if (highest > lowest * JUMP_RATIO * ROUNDING) wild.add(day).add(next);
  }
  if (wild.size === 0) return [];
  const rows = await runSql<{ open_time: Date; detail: string; found: number }>(
    sql,
    'verify/jumps.sql',
    {
      ...values,
      days: listDays(wild),
      ratio: JUMP_RATIO,
      wick_ratio: WICK_RATIO,
      with_wicks: String(maxStepMs(series.interval) <= WICKS_UP_TO_MS),
    },
  );
  if (rows.length === 0) return [];
  return [
    findingOf(
      series,
      'jump',
      rows[0]!.found,
      rows.map((row) => ({ fromMs: row.open_time.getTime(), detail: row.detail })),
    ),
  ];
}

function flatFinding(series: Series, days: readonly DayCounts[]): Finding[] {
  const flat = days.filter((day) => day.flat > 0);
  if (flat.length === 0) return [];
  const count = flat.reduce((sum, day) => sum + day.flat, 0);
  return [
    findingOf(
      series,
      'flat',
      count,
      flat.map((day) => ({ fromMs: day.dayMs, toMs: day.dayMs + DAY_MS, detail: `(${day.flat})` })),
    ),
  ];
}
