import { DAY_MS } from '../base/mod.ts';
import { floorToGrid, type Interval, type Series, type TimeRange } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';

/** A gap is confirmed when it is older than this: what is younger may still be on its way. */
const GAP_SETTLES_MS = DAY_MS;

/** On the grid, Unix ms: what opens before this closed so long ago that it is there or never will be. */
export function settledUntilMs(interval: Interval, nowMs: number): number {
  return floorToGrid(interval, nowMs - GAP_SETTLES_MS);
}

/** The spans of a series for which the exchange has been asked and has nothing. */
export async function confirmedGaps(
  sql: Sql,
  { instrument, interval }: Series,
): Promise<TimeRange[]> {
  const rows = await sql`
    select from_time, to_time
    from confirmed_gaps
    where instrument_id = ${instrument.id} and interval = ${interval}
    order by from_time`;
  return rows.map((row) => ({ fromMs: row.from_time.getTime(), toMs: row.to_time.getTime() }));
}

/** Writes down, with the time, that the exchange was asked for these and has nothing. */
export async function confirmGaps(
  sql: Sql,
  { instrument, interval }: Series,
  ranges: readonly TimeRange[],
): Promise<void> {
  if (ranges.length === 0) return;
  const rows = ranges.map((range) => ({
    instrument_id: instrument.id,
    interval,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
  }));
  await sql`
    insert into confirmed_gaps ${sql(rows)}
    on conflict (instrument_id, interval, from_time)
    do update set to_time = excluded.to_time, asked_at = now()`;
}

/** Forgets what was confirmed in a range, so that it is asked for again. */
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
