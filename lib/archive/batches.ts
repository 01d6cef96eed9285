import { randomUUID } from 'node:crypto';
import { describeError, retry, wait } from '../base/mod.ts';
import { addSteps, floorToGrid, rangeValues, type Series, type TimeRange } from '../market/mod.ts';
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

/**
 * Moves the candles of one range of a series, oldest first, one transaction per batch.
 * @param helper a second session, which takes windows too until another program uses the database
 * @throws StoppedEarly when the time is up or others are in the way; the signal's reason between
 * batches; what `moveBatch` throws
 */
export async function moveRange(
  move: SeriesMove,
  range: TimeRange,
  helper: Session | undefined,
): Promise<void> {
  const left = { ...range };
  const workers = [moveWindows(move, move.session, left)];
  if (helper) workers.push(moveWindows(move, helper, left));
  const failed = (await Promise.allSettled(workers)).filter(({ status }) => status === 'rejected');
  const errors = failed.map((result) => (result as PromiseRejectedResult).reason);
  // When both sessions ended with an error, a failure says more than that the run has to stop.
  const isStop = (error: unknown) => error === move.signal.reason || error instanceof StoppedEarly;
  if (errors.length > 0) throw errors.find((error) => !isStop(error)) ?? errors[0];
}

/** Moves window after window over one session. An error empties `left`, so that the other session ends too. */
async function moveWindows(move: SeriesMove, session: Session, left: TimeRange): Promise<void> {
  const { run, series, signal } = move;
  try {
    for await (const window of takeWindows(move, session, left)) {
      const batch = await moveWindow(move, session, window);
      const rows = batch.movedRows + batch.droppedRows;
      run.events.onBatch(series, { rows, untilMs: window.toMs });
      const pauseMs = run.sizer.recordBatch(batch.tookMs, batch.othersWaited);
      if (pauseMs > 0) await wait(pauseMs, signal);
    }
  } catch (error) {
    left.fromMs = left.toMs;
    if (!isInTheWay(error)) throw error;
    throw new StoppedEarly(`others work on its candles: ${describeError(error)}`);
  }
}

/**
 * Takes window after window from the start of what is left, each as long as the batch sizer allows
 * at that moment. Skips holes in the series. Waits before each window while others suffer from the move.
 * Ends for the helper when another program uses the database.
 */
async function* takeWindows(
  move: SeriesMove,
  session: Session,
  left: TimeRange,
): AsyncGenerator<TimeRange> {
  while (left.fromMs < left.toMs) {
    const isShared = await waitUntilClear(move, session);
    if (isShared && session !== move.session) return;
    const nextMs = await findNextCandle(move, session, left);
    if (nextMs === undefined) return;
    // The other session may have taken windows meanwhile. From here on nothing is awaited.
    const fromMs = Math.max(nextMs, left.fromMs);
    if (fromMs >= left.toMs) return;
    const window = windowAt(move, fromMs, left.toMs);
    left.fromMs = window.toMs;
    yield window;
  }
}

/** @returns whether other programs use the database */
async function waitUntilClear(move: SeriesMove, session: Session): Promise<boolean> {
  const { run, series, signal } = move;
  const { symbol } = series.instrument;
  return await waitForOthers(session, tablesFor(series.instrument, run.options.direction), {
    deadlineMs: run.deadlineMs,
    signal,
    onWait: (reason) => {
      // Not for the helper: it waits for the same.
      if (session === move.session) run.events.onMessage('warn', `${symbol}: waiting, ${reason}`);
    },
  });
}

async function findNextCandle(
  { run, series }: SeriesMove,
  session: Session,
  range: TimeRange,
): Promise<number | undefined> {
  const [found] = await runSql<{ next_time: Date | null }>(session, 'archive/next_time.sql', {
    ...rangeValues(series, range),
    source: tablesFor(series.instrument, run.options.direction).source,
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
async function moveWindow(
  move: SeriesMove,
  session: Session,
  window: TimeRange,
): Promise<BatchCounts & { tookMs: number }> {
  return await retry(() => attemptWindow(move, session, window), {
    isTransient: (error) => isInTheWay(error) || sqlState(error) === SQLSTATE.uniqueViolation,
    firstDelayMs: FIRST_RETRY_MS,
    signal: move.signal,
  });
}

/**
 * Each attempt is a batch with an id of its own, unanswered until its outcome is certain.
 * @returns `tookMs` from BEGIN to the end of COMMIT
 */
async function attemptWindow(
  { run, series, columns }: SeriesMove,
  session: Session,
  window: TimeRange,
): Promise<BatchCounts & { tookMs: number }> {
  const { direction } = run.options;
  const id = randomUUID();
  run.unanswered.set(id, series);
  const startedMs = performance.now();
  try {
    const batch = { id, runId: run.id, direction, columns, window };
    const counts = await moveBatch(session, series, batch);
    run.unanswered.delete(id);
    return { ...counts, tookMs: performance.now() - startedMs };
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
