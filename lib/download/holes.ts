import { type Series, subtractRanges, type TimeRange } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import { confirmGaps, settledUntilMs, storedSeries } from '../store/mod.ts';
import type { Download, Downloaded } from './pages.ts';

/**
 * Remembers the holes that the exchange has too: confirms those that are old all through (else an
 * update a minute would confirm an hour in sixty parts), and leaves the others open, to be asked for
 * again. Only those between two stored candles: before the first one the symbol may not
 * have been listed, and behind the last one it may go on.
 * @returns where the first hole begins that is left to a later run, Unix ms, or else `reachedMs`
 */
export async function settleHoles(
  { source, session, series }: Download,
  { missing, lackedTwice, hasSent }: Downloaded,
  reachedMs: number,
): Promise<number> {
  const { instrument, interval } = series;
  const lacked = hasSent ? lackedTwice : [];
  if (lacked.length === 0) return firstOf(missing, reachedMs);
  const [stored] = await storedSeries(session, instrument, [interval]);
  const holes = lacked.filter(
    ({ fromMs, toMs }) => stored && fromMs > stored.firstMs && toMs <= stored.lastMs,
  );
  const untilMs = settledUntilMs(interval, await source.serverTimeMs(instrument.market));
  const old = holes.filter(({ toMs }) => toMs <= untilMs);
  await confirmGaps(session, series, old);
  await leaveOpen(session, series, subtractRanges(holes, old));
  return firstOf(subtractRanges(missing, old), reachedMs);
}

/** Where the first of some ranges begins, in whatever order they come. */
function firstOf(ranges: readonly TimeRange[], orElseMs: number): number {
  return ranges.reduce((leastMs, { fromMs }) => Math.min(leastMs, fromMs), orElseMs);
}

/**
 * What not to ask for just now, oldest first: open holes rest for as long as they have been asked for
 * already, up to an hour. So one that an update a minute meets is asked for after 1, 2, 4, 8 … minutes;
 * a tenth less, since no update comes to the second. What was asked for in the future, by a clock that
 * was wrong then, does not rest.
 */
export async function restingHoles(
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
  return rows.map((row) => ({ fromMs: row.from_time.getTime(), toMs: row.to_time.getTime() }));
}

/** Writes down that these were asked for, and forgets those that have not been for an hour. */
async function leaveOpen(
  sql: Sql,
  { instrument, interval }: Series,
  holes: readonly TimeRange[],
): Promise<void> {
  const rows = holes.map((hole) => ({
    instrument_id: instrument.id,
    interval,
    from_time: new Date(hole.fromMs),
    to_time: new Date(hole.toMs),
  }));
  if (rows.length > 0) {
    await sql`
      insert into open_gaps ${sql(rows)}
      on conflict (instrument_id, interval, from_time)
      do update set to_time = excluded.to_time, asked_at = now()`;
  }
  await sql`
    delete from open_gaps
    where instrument_id = ${instrument.id}
      and interval = ${interval}
      and asked_at <= now() - interval '1 hour'`;
}
