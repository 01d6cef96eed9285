import type { Session } from './db.ts';
import { KlinekeepError } from './errors.ts';
import type { Instrument } from './instruments.ts';
import { INTERVALS, type Interval, splitIntoWindows, type TimeRange } from './intervals.ts';
import type { Series } from './klines.ts';
import { lockedTransaction } from './locks.ts';
import { retry } from './retry.ts';
import { runSql, type Sql, sqlState } from './sql-file.ts';
import { DAY_MS, formatShort, startOfDay } from './time.ts';

/** A candle table name over 55 bytes: with _archive PostgreSQL would cut it, at worst to itself. */
const MAX_TABLE_NAME_BYTES = 55;

const SERIALIZATION_FAILURE = '40001';
const DEADLOCK = '40P01';

/** What of one series is older than the cutoff. */
export interface DueSeries {
  interval: Interval;
  rows: number;
  /** Of the rows alone, without indexes. */
  bytes: number;
  /** Open time of the oldest one, Unix ms. */
  firstMs: number;
}

/** The moment before which candles are archived: `days` back, at the start of that UTC day. */
export function cutoffMs(asOfMs: number, days: number): number {
  return startOfDay(asOfMs - days * DAY_MS);
}

export function archiveTableOf(instrument: Instrument): string {
  return `${instrument.tableName}_archive`;
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
  }));
}

/**
 * Makes the instrument's archive table if there is none, and holds the two shapes together.
 * @throws KlinekeepError (1) naming each difference; no row has moved then.
 */
export async function prepareArchiveTable(session: Session, instrument: Instrument): Promise<void> {
  const [hot, archive] = [instrument.tableName, archiveTableOf(instrument)];
  if (Buffer.byteLength(hot) > MAX_TABLE_NAME_BYTES) {
    throw new KlinekeepError(
      'failed',
      `Table name ${hot} has ${Buffer.byteLength(hot)} bytes; wanted at most ${MAX_TABLE_NAME_BYTES}.`,
      { hint: 'Give it a shorter name in PostgreSQL and in instruments.table_name.' },
    );
  }
  await lockedTransaction(session, instrument.id, '', async (tx) => {
    const [found] =
      await tx`select to_regclass(format('%I', ${archive}::text)) is not null as there`;
    if (!found?.there) {
      await runSql(tx, 'archive/create_table.sql', { hot, archive, instrument_id: instrument.id });
    }
  });
  const differences = await compareShapes(session, instrument);
  if (differences.length > 0) {
    throw new KlinekeepError(
      'failed',
      `${archive} has not the shape of ${hot}: ${differences.join('; ')}. No row was moved.`,
      { hint: `Alter ${archive} until both are the same, then run it again.` },
    );
  }
}

/** How the shape of an instrument's archive table differs from its candle table, in words. */
export async function compareShapes(sql: Sql, instrument: Instrument): Promise<string[]> {
  const rows = await runSql<{
    piece: string;
    hot_shape: string | null;
    archive_shape: string | null;
  }>(sql, 'archive/compare_shapes.sql', {
    hot: instrument.tableName,
    archive: archiveTableOf(instrument),
  });
  return rows.map(
    (row) => `${row.piece} is ${row.archive_shape ?? 'missing'}, wanted ${row.hot_shape ?? 'none'}`,
  );
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
 * @returns how many candles were moved
 * @throws the signal's reason between batches
 */
export async function archiveSeries(
  session: Session,
  series: Series,
  firstMs: number,
  options: ArchiveOptions,
): Promise<number> {
  let moved = 0;
  for (const window of batchWindows(
    series.interval,
    firstMs,
    options.cutoffMs,
    options.batchRows,
  )) {
    options.signal.throwIfAborted();
    const movedRows = await retry(() => moveWindow(session, series, window, options.runId), {
      isTransient: (error) => [SERIALIZATION_FAILURE, DEADLOCK].includes(sqlState(error) ?? ''),
      signal: options.signal,
    });
    moved += movedRows;
    options.onBatch?.({ movedRows, untilMs: window.toMs });
  }
  return moved;
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
