import { DAY_MS, startOfDay } from '../base/mod.ts';
import { clipRanges, countSlots, rangeValues, type Series, type TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

/** The candles of one series on one UTC day. */
export interface DayCounts {
  /** Start of the day, Unix ms. */
  dayMs: number;
  /** Candles in both tiers. */
  rows: number;
  /** Those of them that are archived. */
  archivedRows: number;
  /** Those that need checking. */
  oddRows: number;
  /** Those without trades. */
  flatRows: number;
  lowestPrice: number;
  highestPrice: number;
}

/**
 * Reads every candle of a series once, and counts by day how many there are and how many need
 * checking. The other checks look only at days whose counts call for it.
 * @param sql a transaction
 * @returns the days with candles, oldest first
 */
export async function countDays(sql: Sql, series: Series, range: TimeRange): Promise<DayCounts[]> {
  // The planner underrates hashing, and would sort all candles on disk.
  await sql`set local enable_sort = off`;
  const days = await runSql<DayCounts>(sql, 'verify/count_days.sql', rangeValues(series, range));
  await sql`set local enable_sort = on`;
  return days.sort((a, b) => a.dayMs - b.dayMs);
}

/** Whether both tiers have candles of the day. */
export function isInBothTiers({ rows, archivedRows }: DayCounts): boolean {
  return archivedRows > 0 && archivedRows < rows;
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
  return day.rows === slots && day.oddRows === 0 && !isInBothTiers(day);
}
