import type { Instrument, Interval, TimeRange } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';

/**
 * Lets archive leave ranges of an instrument alone until `keepUntilMs`. Of the same range the
 * latest word counts.
 */
export async function keepRestored(
  sql: Sql,
  instrument: Instrument,
  ranges: readonly { interval: Interval; range: TimeRange }[],
  keep: { untilMs: number; runId: string },
): Promise<void> {
  const rows = ranges.map(({ interval, range }) => ({
    instrument_id: instrument.id,
    interval,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
    keep_until: new Date(keep.untilMs),
    run_id: keep.runId,
  }));
  await sql`
    insert into restored_ranges ${sql(rows)}
    on conflict (instrument_id, interval, from_time, to_time)
    do update set keep_until = excluded.keep_until, run_id = excluded.run_id, restored_at = now()`;
}

/** The ranges of an instrument that archive has to leave alone now, oldest first. */
export async function keptRanges(
  sql: Sql,
  instrument: Instrument,
): Promise<{ interval: Interval; range: TimeRange }[]> {
  const rows = await sql`
    select interval, from_time, to_time
    from restored_ranges
    where instrument_id = ${instrument.id} and keep_until > now()
    order by interval, from_time`;
  return rows.map((row) => ({
    interval: row.interval,
    range: { fromMs: row.from_time.getTime(), toMs: row.to_time.getTime() },
  }));
}
