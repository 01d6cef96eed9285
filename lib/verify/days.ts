import { DAY_MS, startOfDay } from '../base/mod.ts';
import { clipRanges, countSlots, rangeValues, type Series, type TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

export const TIERS = ['klines', 'klines_archive'] as const;
export type TierTable = (typeof TIERS)[number];

/** The candles of one series on one UTC day. */
export interface DayCounts {
  /** Start of the day, Unix ms. */
  dayMs: number;
  /** Candles, by tier. */
  rows: Record<TierTable, number>;
  /** Candles that need checking, by tier. */
  odd: Record<TierTable, number>;
  /** Candles without trades. */
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
 * Reads every candle of a series once, and counts by day how many there are and how many need
 * checking. The other checks look only at days whose counts call for it.
 * @param sql a transaction
 * @returns the days with candles, oldest first
 */
export async function countDays(sql: Sql, series: Series, range: TimeRange): Promise<DayCounts[]> {
  const days = new Map<number, DayCounts>();
  // The planner underrates hashing, and would sort all candles on disk.
  await sql`set local enable_sort = off`;
  for (const tier of TIERS) {
    const rows = await runSql<DayRow>(sql, 'verify/count_days.sql', {
      ...rangeValues(series, range),
      tier,
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
  return [...days.values()].sort((a, b) => a.dayMs - b.dayMs);
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

/** The candles of a day in both tiers. */
export function countRows(day: DayCounts): number {
  return day.rows.klines + day.rows.klines_archive;
}

/** Days of a range on which a slot may be empty; neighbouring days become one range. */
export function daysToSearch(
  series: Series,
  days: readonly DayCounts[],
  range: TimeRange,
): TimeRange[] {
  const byStart = new Map(days.map((day) => [day.dayMs, day]));
  const ranges: TimeRange[] = [];
  for (let dayMs = startOfDay(range.fromMs); dayMs < range.toMs; dayMs += DAY_MS) {
    const [span] = clipRanges([{ fromMs: dayMs, toMs: dayMs + DAY_MS }], range);
    if (!span || isComplete(byStart.get(dayMs), countSlots(series.interval, span))) continue;
    const last = ranges.at(-1);
    if (last?.toMs === span.fromMs) last.toMs = span.toMs;
    else ranges.push(span);
  }
  return ranges;
}

/** Whether the counts alone prove that each slot of a day has its candle. */
function isComplete(day: DayCounts | undefined, slots: number): boolean {
  if (!day) return slots === 0;
  // An odd candle may be off the grid, and one in both tiers is counted twice.
  const isOdd = TIERS.some((tier) => day.odd[tier] > 0);
  const isInBothTiers = TIERS.every((tier) => day.rows[tier] > 0);
  return countRows(day) === slots && !isOdd && !isInBothTiers;
}
