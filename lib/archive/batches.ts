import { randomUUID } from 'node:crypto';
import { describeError, retry } from '../base/mod.ts';
import { addSteps, floorToGrid, type Series, type TimeRange } from '../market/mod.ts';
import { isConnectionLost, runSql, type Session, SQLSTATE, sqlState } from '../postgres/mod.ts';
import { type BatchCounts, moveBatch } from './batch.ts';
import { type MoveRun, StoppedEarly } from './move-run.ts';
import { type Columns, tablesFor } from './tables.ts';
import { waitForOthers } from './throttle.ts';

const FIRST_RETRY_MS = 100;

/** What the batches of one series share. */
export interface SeriesMove {
  run: MoveRun;
  /** Holds the instrument's lock. */
  session: Session;
  series: Series;
  /** The columns that both tables have. */
  columns: Columns;
  signal: AbortSignal;
}

export interface MovedBatch extends BatchCounts {
  window: TimeRange;
  /** From BEGIN to the end of COMMIT. */
  tookMs: number;
}

/**
 * Moves the candles of one range of a series, oldest first, one transaction per batch. Holes in
 * the series cost no batch.
 * @yields each batch after its COMMIT
 * @throws StoppedEarly when the time is up or others are in the way; the signal's reason between
 * batches; what `moveBatch` throws
 */
export async function* moveInBatches(
  move: SeriesMove,
  range: TimeRange,
): AsyncGenerator<MovedBatch> {
  try {
    let fromMs = range.fromMs;
    while (fromMs < range.toMs) {
      await waitUntilClear(move);
      const nextMs = await findNextCandle(move, { fromMs, toMs: range.toMs });
      if (nextMs === undefined) return;
      const window = windowAt(move, nextMs, range.toMs);
      yield await moveWindow(move, window);
      fromMs = window.toMs;
    }
  } catch (error) {
    if (!isInTheWay(error)) throw error;
    throw new StoppedEarly(`others work on its candles: ${describeError(error)}`);
  }
}

async function waitUntilClear({ run, session, series, signal }: SeriesMove): Promise<void> {
  const { instrument } = series;
  await waitForOthers(session, tablesFor(instrument, run.options.direction), {
    deadlineMs: run.deadlineMs,
    signal,
    onWait: (reason) => run.events.onMessage('warn', `${instrument.symbol}: waiting, ${reason}`),
  });
}

async function findNextCandle(
  { run, session, series }: SeriesMove,
  range: TimeRange,
): Promise<number | undefined> {
  const [found] = await runSql<{ next_time: Date | null }>(session, 'archive/next_time.sql', {
    source: tablesFor(series.instrument, run.options.direction).source,
    instrument_id: series.instrument.id,
    interval: series.interval,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
  });
  return found?.next_time?.getTime();
}

/** A window with room for as many candles as the batch sizer allows now. */
function windowAt({ run, series }: SeriesMove, fromMs: number, endMs: number): TimeRange {
  const { interval } = series;
  const fullMs = addSteps(interval, floorToGrid(interval, fromMs), run.sizer.rows);
  return { fromMs, toMs: Math.min(fullMs, endMs) };
}

/** Moves one window. Tries again when others were in the way or stored a candle of it meanwhile. */
async function moveWindow(move: SeriesMove, window: TimeRange): Promise<MovedBatch> {
  return await retry(() => attemptWindow(move, window), {
    isTransient: (error) => isInTheWay(error) || sqlState(error) === SQLSTATE.uniqueViolation,
    firstDelayMs: FIRST_RETRY_MS,
    signal: move.signal,
  });
}

/** Every attempt is a batch with an id of its own, known as unanswered until its outcome is certain. */
async function attemptWindow(move: SeriesMove, window: TimeRange): Promise<MovedBatch> {
  const { run, session, series, columns } = move;
  const { direction } = run.options;
  const id = randomUUID();
  run.unanswered.set(id, series);
  const startedMs = performance.now();
  try {
    const counts = await moveBatch(session, series, {
      ...{ id, runId: run.id, direction, columns, window },
    });
    run.unanswered.delete(id);
    return { ...counts, window, tookMs: performance.now() - startedMs };
  } catch (error) {
    if (!isConnectionLost(error)) run.unanswered.delete(id);
    throw error;
  }
}

const IN_THE_WAY: unknown[] = [
  SQLSTATE.serializationFailure,
  SQLSTATE.deadlockDetected,
  SQLSTATE.lockNotAvailable,
];

/** Whether a batch failed because others work on the same candles or have locked the tables. */
function isInTheWay(error: unknown): boolean {
  return IN_THE_WAY.includes(sqlState(error));
}
