import { DAY_MS, startOfDay } from '../base/mod.ts';
import { clipRanges, countSlots, type Series, type TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

export const TIERS = ['klines', 'klines_archive'] as const;
export type TierTable = (typeof TIERS)[number];

/** What one UTC day holds of one series. */
export interface DayCounts {
  dayMs: number;
  /** Candles, by tier. */
  rows: Record<TierTable, number>;
  /** Candles that want a look, by tier. */
  odd: Record<TierTable, number>;
  flat: number;
  lowestPrice: number;
  highestPrice: number;
}

interface DayRow {
  day: Date;
  stored_rows: number;
  flat_rows: number;
  odd_rows: number;
  lowest_price: number;
  highest_price: number;
}

/**
 * Reads every candle of a series once, and counts by day: what is there, and what is odd. All
 * further checks look only at days that this one points at.
 * @param sql a transaction
 */
export async function countDays(
  sql: Sql,
  { instrument, interval }: Series,
  range: TimeRange,
): Promise<Map<number, DayCounts>> {
  const days = new Map<number, DayCounts>();
  // The planner thinks little of hashing, and would rather sort all candles, on disk.
  await sql`set local enable_sort = off`;
  for (const tier of TIERS) {
    const rows = await runSql<DayRow>(sql, 'verify/count_days.sql', {
      tier,
      instrument_id: instrument.id,
      interval,
      from_time: new Date(range.fromMs),
      to_time: new Date(range.toMs),
    });
    for (const row of rows) {
      const dayMs = row.day.getTime();
      const day = days.get(dayMs) ?? emptyDay(dayMs);
      days.set(dayMs, day);
      day.rows[tier] = row.stored_rows;
      day.odd[tier] = row.odd_rows;
      day.flat += row.flat_rows;
      day.lowestPrice = Math.min(day.lowestPrice, row.lowest_price);
      day.highestPrice = Math.max(day.highestPrice, row.highest_price);
    }
  }
  await sql`set local enable_sort = on`;
  return days;
}

function emptyDay(dayMs: number): DayCounts {
  return {
    dayMs,
    rows: { klines: 0, klines_archive: 0 },
    odd: { klines: 0, klines_archive: 0 },
    flat: 0,
    lowestPrice: Number.POSITIVE_INFINITY,
    highestPrice: 0,
  };
}

export function rowsOf(day: DayCounts | undefined): number {
  return day ? day.rows.klines + day.rows.klines_archive : 0;
}

/**
 * The days of a range on which a candle of the grid may be missing, next to each other as one:
 * where there are not exactly as many candles as slots, or some that may not stand for a slot.
 */
export function daysToSearch(
  { interval }: Series,
  days: ReadonlyMap<number, DayCounts>,
  range: TimeRange,
): TimeRange[] {
  const ranges: TimeRange[] = [];
  for (let dayMs = startOfDay(range.fromMs); dayMs < range.toMs; dayMs += DAY_MS) {
    const day = days.get(dayMs);
    const [span] = clipRanges([{ fromMs: dayMs, toMs: dayMs + DAY_MS }], range);
    if (!span) continue;
    const isComplete =
      rowsOf(day) === countSlots(interval, span) &&
      (!day ||
        (day.odd.klines + day.odd.klines_archive === 0 &&
          (day.rows.klines === 0 || day.rows.klines_archive === 0)));
    if (isComplete) continue;
    const last = ranges.at(-1);
    if (last && last.toMs === span.fromMs) last.toMs = span.toMs;
    else ranges.push(span);
  }
  return ranges;
}

/** For `:'days'` in SQL. */
export function listDays(days: Iterable<DayCounts>): string {
  return [...days].map((day) => day.dayMs).join(',');
}
