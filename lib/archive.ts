import type { Session } from './db.ts';
import { KlinekeepError } from './errors.ts';
import type { Instrument } from './instruments.ts';
import { INTERVALS, type Interval, splitIntoWindows, type TimeRange } from './intervals.ts';
import type { Series } from './klines.ts';
import { lockedTransaction } from './locks.ts';
import { retry } from './retry.ts';
import { runSql, type Sql, sqlState } from './sql-file.ts';
import { DAY_MS, formatShort, startOfDay } from './time.ts';

const SERIALIZATION_FAILURE = '40001';
const DEADLOCK = '40P01';

/** What of one series is older than the cutoff. */
export interface DueSeries {
  interval: Interval;
  rows: number;
  /** Of the rows alone, without indexes. */
  bytes: number;
  /** Open times of the oldest and the newest one, Unix ms. */
  firstMs: number;
  lastMs: number;
}

/** The moment before which candles are archived: `days` back, at the start of that UTC day. */
export function cutoffMs(asOfMs: number, days: number): number {
  return startOfDay(asOfMs - days * DAY_MS);
}

/** The series of an instrument that have candles in klines from before the cutoff. */
export async function dueSeries(
  sql: Sql,
  instrument: Instrument,
  beforeMs: number,
  intervals: readonly Interval[] = INTERVALS,
): Promise<DueSeries[]> {
  const rows = await runSql<{
    interval: Interval;
    due_rows: number;
    due_bytes: number;
    first_time: Date;
    last_time: Date;
  }>(sql, 'archive/due.sql', {
    instrument_id: instrument.id,
    intervals: intervals.join(','),
    cutoff: new Date(beforeMs),
  });
  return rows.map((row) => ({
    interval: row.interval,
    rows: row.due_rows,
    bytes: row.due_bytes,
    firstMs: row.first_time.getTime(),
    lastMs: row.last_time.getTime(),
  }));
}

export interface ArchiveOptions {
  runId: string;
  cutoffMs: number;
  /** Candles a batch holds at most, off-grid ones aside. */
  batchRows: number;
  signal: AbortSignal;
  onBatch?: (batch: { movedRows: number; untilMs: number }) => void;
}

/**
 * Moves what is due of one series, oldest first, a window of the grid at a time, each in a
 * transaction of its own. The session holds the instrument's lock.
 * @throws the signal's reason between batches
 */
export async function archiveSeries(
  session: Session,
  series: Series,
  due: DueSeries,
  options: ArchiveOptions,
): Promise<void> {
  const beforeMs = Math.min(options.cutoffMs, due.lastMs + 1);
  for (const window of batchWindows(series.interval, due.firstMs, beforeMs, options.batchRows)) {
    options.signal.throwIfAborted();
    const movedRows = await retry(() => moveWindow(session, series, window, options.runId), {
      isTransient: (error) => [SERIALIZATION_FAILURE, DEADLOCK].includes(sqlState(error) ?? ''),
      signal: options.signal,
    });
    options.onBatch?.({ movedRows, untilMs: window.toMs });
  }
}

/** The windows of a run: together all open times from the first one due up to the cutoff. */
export function* batchWindows(
  interval: Interval,
  firstMs: number,
  beforeMs: number,
  batchRows: number,
): Generator<TimeRange> {
  let fromMs = firstMs;
  for (const window of splitIntoWindows(
    interval,
    [{ fromMs: firstMs, toMs: beforeMs }],
    batchRows,
  )) {
    // The first candle may be off the grid, and the cutoff inside a week or a month.
    const toMs = Math.min(window.toMs, beforeMs);
    if (toMs > fromMs) yield { fromMs, toMs };
    fromMs = toMs;
  }
  if (fromMs < beforeMs) yield { fromMs, toMs: beforeMs };
}

async function moveWindow(
  session: Session,
  series: Series,
  window: TimeRange,
  runId: string,
): Promise<number> {
  const { instrument, interval } = series;
  return await lockedTransaction(
    session,
    instrument.id,
    'isolation level repeatable read',
    async (tx) => {
      const [batch] = await runSql<{
        copied_rows: number;
        removed_rows: number;
        is_proven: boolean;
      }>(tx, 'archive/move.sql', {
        run_id: runId,
        instrument_id: instrument.id,
        interval,
        from_time: new Date(window.fromMs),
        to_time: new Date(window.toMs),
      });
      if (!batch?.is_proven) {
        throw new KlinekeepError(
          'failed',
          `${batch?.copied_rows} candles were copied and ${batch?.removed_rows} deleted, or not the same ones, ` +
            `between ${formatShort(window.fromMs)} and ${formatShort(window.toMs)}. The batch was rolled back.`,
          { hint: 'Something else writes to these tables. verify-integrity tells what is stored.' },
        );
      }
      return batch.copied_rows;
    },
  );
}
