import { DAY_MS, startOfDay } from '../base/mod.ts';
import { INTERVALS, type Instrument, type Interval, type TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import { findTable } from '../store/mod.ts';
import type { Direction } from './log.ts';
import { type SeriesRange, subtractKept } from './restored-ranges.ts';
import { tablesFor } from './tables.ts';

/** Candles of one series that are to move. The range is from the first of them to 1 ms past the last. */
export interface PlannedRange extends SeriesRange {
  rows: number;
  /** Size of the rows without indexes, estimated from the first of them. */
  bytes: number;
}

/** The candles of one instrument that are to move. */
export interface InstrumentPlan {
  instrument: Instrument;
  ranges: PlannedRange[];
  rows: number;
  bytes: number;
  /** Why none of them can move: something else has the name of the table. */
  refusal?: unknown;
}

export interface MoveRequest {
  direction: Direction;
  /** Of open times. For archive it begins with the first candle. */
  range: TimeRange;
  /** Default: all. */
  intervals?: readonly Interval[] | undefined;
}

/** The moment before which candles are archived: `days` back, at the start of that UTC day. */
export function cutoffMs(asOfMs: number, days: number): number {
  return startOfDay(asOfMs - days * DAY_MS);
}

/**
 * Plans the move of one instrument. For archive without the restored ranges that are still kept.
 * @throws PostgreSQL's errors
 */
export async function planInstrument(
  sql: Sql,
  instrument: Instrument,
  { direction, range, intervals = INTERVALS }: MoveRequest,
): Promise<InstrumentPlan> {
  const tier = direction === 'archive' ? 'klines' : 'klines_archive';
  const table = await findTable(sql, instrument, tier);
  // A table without the columns of klines holds no candles, so there is nothing to refuse.
  if (table.state === 'taken' && table.hasShape)
    return { instrument, ranges: [], rows: 0, bytes: 0, refusal: table.problem };
  if (range.fromMs >= range.toMs || table.state !== 'ready')
    return { instrument, ranges: [], rows: 0, bytes: 0 };
  const whole = intervals.map((interval) => ({ interval, range }));
  const wanted = direction === 'archive' ? await subtractKept(sql, instrument, whole) : whole;
  const ranges = await countCandles(
    sql,
    tablesFor(instrument, direction).source,
    instrument,
    wanted,
  );
  return {
    instrument,
    ranges,
    rows: ranges.reduce((sum, { rows }) => sum + rows, 0),
    bytes: ranges.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

/** Counts the candles of some ranges in a table. Ranges without candles are left out. */
async function countCandles(
  sql: Sql,
  source: string,
  instrument: Instrument,
  ranges: readonly SeriesRange[],
): Promise<PlannedRange[]> {
  const iso = (timeMs: number) => new Date(timeMs).toISOString();
  const rows = await runSql<{
    interval: Interval;
    first_time: Date;
    last_time: Date;
    due_rows: number;
    due_bytes: number;
  }>(sql, 'archive/due.sql', {
    source,
    instrument_id: instrument.id,
    intervals: ranges.map(({ interval }) => interval).join(','),
    from_times: ranges.map(({ range }) => iso(range.fromMs)).join(','),
    to_times: ranges.map(({ range }) => iso(range.toMs)).join(','),
  });
  return rows.map((row) => ({
    interval: row.interval,
    range: { fromMs: row.first_time.getTime(), toMs: row.last_time.getTime() + 1 },
    rows: row.due_rows,
    bytes: row.due_bytes,
  }));
}

/** How many batches a plan takes if each holds as many candles as it may. */
export function countBatches(plan: InstrumentPlan, batchRows: number): number {
  return plan.ranges.reduce((sum, { rows }) => sum + Math.ceil(rows / batchRows), 0);
}
