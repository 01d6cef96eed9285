import {
  type Instrument,
  type Interval,
  rangeValues,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';

/** A range of one series of an instrument. */
export interface SeriesRange {
  interval: Interval;
  range: TimeRange;
}

/**
 * Makes archive leave ranges of an instrument alone until `keep.untilMs` (Unix ms). For a range that
 * is kept already the new date counts.
 */
export async function keepRestored(
  sql: Sql,
  instrument: Instrument,
  ranges: readonly SeriesRange[],
  keep: { untilMs: number; runId: string },
): Promise<void> {
  const rows = ranges.map(({ interval, range }) => ({
    ...rangeValues({ instrument, interval }, range),
    keep_until: new Date(keep.untilMs),
    run_id: keep.runId,
  }));
  await sql`
    insert into restored_ranges ${sql(rows)}
    on conflict (instrument_id, interval, from_time, to_time)
    do update set keep_until = excluded.keep_until, run_id = excluded.run_id, restored_at = now()`;
}

/** What is left of ranges of an instrument without those that archive has to leave alone now. */
export async function subtractKept(
  sql: Sql,
  instrument: Instrument,
  ranges: readonly SeriesRange[],
): Promise<SeriesRange[]> {
  const kept = await sql`
    select interval, from_time, to_time
    from restored_ranges
    where instrument_id = ${instrument.id} and keep_until > now()`;
  return ranges.flatMap(({ interval, range }) => {
    const holes = kept
      .filter((row) => row.interval === interval)
      .map((row) => ({ fromMs: row.from_time.getTime(), toMs: row.to_time.getTime() }));
    return subtractRanges([range], holes).map((left) => ({ interval, range: left }));
  });
}
