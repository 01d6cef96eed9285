import { DAY_MS, startOfDay } from '../base/mod.ts';
import {
  INTERVALS,
  type Instrument,
  type Interval,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import { findTable } from '../store/mod.ts';
import type { Direction } from './log.ts';
import { keptRanges } from './restored-ranges.ts';
import { tablesOf } from './tables.ts';

/** Candles of one series that are to move. */
export interface DueRange {
  interval: Interval;
  /** From the first of them to 1 ms past the last. */
  range: TimeRange;
  rows: number;
  /** Of the rows alone, without indexes; measured on the first of them. */
  bytes: number;
}

/** What of one instrument is to move. */
export interface Due {
  instrument: Instrument;
  ranges: DueRange[];
  rows: number;
  bytes: number;
  /** Why nothing of it can move: its table is not ours. */
  refused?: unknown;
}

export interface MoveRequest {
  direction: Direction;
  /** Open times. Archive begins with the first candle. */
  range: TimeRange;
  /** Default: all. */
  intervals?: readonly Interval[] | undefined;
}

/** The moment before which candles are archived: `days` back, at the start of that UTC day. */
export function cutoffMs(asOfMs: number, days: number): number {
  return startOfDay(asOfMs - days * DAY_MS);
}

/** What of an instrument is to move. Archive leaves alone what was restored and is still kept. */
export async function findDue(
  sql: Sql,
  instrument: Instrument,
  { direction, range, intervals = INTERVALS }: MoveRequest,
): Promise<Due> {
  const { source } = tablesOf(instrument, direction);
  const ranges: DueRange[] = [];
  const table = await findTable(
    sql,
    instrument,
    direction === 'archive' ? 'klines' : 'klines_archive',
  );
  // What does not look like a candle table holds no candles of ours: nothing is due.
  if (table.state === 'taken' && table.hasShape)
    return { instrument, ranges, rows: 0, bytes: 0, refused: table.problem };
  if (range.fromMs < range.toMs && table.state === 'ready') {
    const kept = direction === 'archive' ? await keptRanges(sql, instrument) : [];
    const asked = intervals.flatMap((interval) => {
      const holes = kept.filter((each) => each.interval === interval).map((each) => each.range);
      return subtractRanges([range], holes).map((part) => ({ interval, ...part }));
    });
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
      intervals: asked.map(({ interval }) => interval).join(','),
      from_times: asked.map(({ fromMs }) => iso(fromMs)).join(','),
      to_times: asked.map(({ toMs }) => iso(toMs)).join(','),
    });
    for (const row of rows) {
      ranges.push({
        interval: row.interval,
        range: { fromMs: row.first_time.getTime(), toMs: row.last_time.getTime() + 1 },
        rows: row.due_rows,
        bytes: row.due_bytes,
      });
    }
  }
  const sumOf = (what: 'rows' | 'bytes') => ranges.reduce((sum, each) => sum + each[what], 0);
  return { instrument, ranges, rows: sumOf('rows'), bytes: sumOf('bytes') };
}

/** Batches that it takes if each one holds as many candles as it may. */
export function countBatches(due: Due, batchRows: number): number {
  return due.ranges.reduce((sum, { rows }) => sum + Math.ceil(rows / batchRows), 0);
}
