/** Holes that Binance has too: confirmed ones, and open ones that are requested again. */
import { DAY_MS } from '../base/mod.ts';
import {
  floorToGrid,
  type Interval,
  rangeValues,
  type Series,
  type TimeRange,
} from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';

/** Candles younger than this may still be published. */
const GAP_SETTLES_MS = DAY_MS;

/** The open time before which a missing candle is a gap for good, on the grid, Unix ms. */
export function settledUntilMs(interval: Interval, nowMs: number): number {
  return floorToGrid(interval, nowMs - GAP_SETTLES_MS);
}

/** The confirmed gaps of a series, oldest first. */
export async function confirmedGaps(
  sql: Sql,
  { instrument, interval }: Series,
): Promise<TimeRange[]> {
  const rows = await sql`
    select from_time, to_time
    from confirmed_gaps
    where instrument_id = ${instrument.id} and interval = ${interval}
    order by from_time`;
  return rows.map(readRange);
}

/**
 * Records that the exchange was asked for these ranges and has no candles there. Who calls this has
 * proof: `recordHoles` (download/holes.ts) and `trueGaps` (download/download.ts).
 */
export async function confirmGaps(
  sql: Sql,
  series: Series,
  ranges: readonly TimeRange[],
): Promise<void> {
  await recordGaps(sql, 'confirmed_gaps', series, ranges);
}

/** Deletes the confirmed gaps in a range, so that they are requested again. */
export async function forgetGaps(
  sql: Sql,
  { instrument, interval }: Series,
  range: TimeRange,
): Promise<void> {
  await sql`
    delete from confirmed_gaps
    where instrument_id = ${instrument.id}
      and interval = ${interval}
      and from_time < ${new Date(range.toMs)}
      and to_time > ${new Date(range.fromMs)}`;
}

/**
 * The open gaps that need not be requested now, oldest first. A gap rests for as long as it has been
 * requested already, up to an hour. So with an update every minute it is requested after 1, 2, 4,
 * 8 … minutes, less a tenth, because updates are not punctual to the second. A gap that was
 * requested in the future, by a clock that was wrong then, does not rest.
 */
export async function restingGaps(
  sql: Sql,
  { instrument, interval }: Series,
): Promise<TimeRange[]> {
  const rows = await sql`
    select from_time, to_time
    from open_gaps
    where instrument_id = ${instrument.id}
      and interval = ${interval}
      and now() between asked_at and asked_at + 0.9 * least(asked_at - first_asked_at, interval '1 hour')
    order by from_time`;
  return rows.map(readRange);
}

/** Records that these gaps were requested now, and deletes those that were not for an hour. */
export async function recordOpenGaps(
  sql: Sql,
  series: Series,
  ranges: readonly TimeRange[],
): Promise<void> {
  await recordGaps(sql, 'open_gaps', series, ranges);
  await sql`
    delete from open_gaps
    where instrument_id = ${series.instrument.id}
      and interval = ${series.interval}
      and asked_at <= now() - interval '1 hour'`;
}

async function recordGaps(
  sql: Sql,
  table: 'confirmed_gaps' | 'open_gaps',
  series: Series,
  ranges: readonly TimeRange[],
): Promise<void> {
  if (ranges.length === 0) return;
  const rows = ranges.map((range) => rangeValues(series, range));
  await sql`
    insert into ${sql(table)} ${sql(rows)}
    on conflict (instrument_id, interval, from_time)
    do update set to_time = excluded.to_time, asked_at = now()`;
}

function readRange(row: { from_time?: Date; to_time?: Date }): TimeRange {
  return { fromMs: row.from_time!.getTime(), toMs: row.to_time!.getTime() };
}
