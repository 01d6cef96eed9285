import { randomUUID } from 'node:crypto';
import { describeError, inParallel, oneAtATime, retry, wait } from '../base/mod.ts';
import { addSteps, floorToGrid, type Series, type TimeRange } from '../market/mod.ts';
import { isConnectionLost, runSql, type Session, SQLSTATE, sqlState } from '../postgres/mod.ts';
import { type BatchCounts, moveBatch } from './batch.ts';
import type { Direction } from './log.ts';
import type { Pace } from './pace.ts';
import { type Columns, tablesOf } from './tables.ts';
import type { Pressure } from './throttle.ts';

/** serialization_failure, deadlock_detected, lock_not_available: somebody else was in the way. */
const IN_THE_WAY = [
  SQLSTATE.serializationFailure,
  SQLSTATE.deadlockDetected,
  SQLSTATE.lockNotAvailable,
] as string[];
const FIRST_RETRY_MS = 100;

const LOOK_AGAIN_MS = 250;
/** Longer than this nobody waits for a replica: it may never catch up. */
const MAX_BACK_OFF_MS = 5 * 60_000;

export interface MoveOptions {
  runId: string;
  direction: Direction;
  /** Of both tables. */
  columns: Columns;
  pace: Pace;
  pressure: Pressure;
  /** When to begin no other batch, by `performance.now()`. */
  untilMs: number;
  signal: AbortSignal;
  /** A batch begins: its id, to look it up if its COMMIT is never answered. */
  onBegin: (batchId: string) => void;
  /** It came to nothing, which is certain. */
  onRolledBack: (batchId: string) => void;
  onBatch: (batch: BatchCounts & { id: string; untilMs: number }) => void;
  /** No batch begins for now, and why. */
  onBackOff: (reason: string) => void;
}

/**
 * Moves the candles of one range of a series, oldest first, in batches of a transaction each. What
 * is not there is jumped over.
 * @param sessions the one that holds the instrument's lock, and a helper of it if two batches are to
 * be under way at the same time: until somebody else uses the database
 * @returns undefined when all is moved; else why it stopped before, in words
 * @throws the signal's reason between batches; what `moveBatch` throws
 */
export async function moveRange(
  sessions: readonly Session[],
  series: Series,
  range: TimeRange,
  options: MoveOptions,
): Promise<string | undefined> {
  const { pace, pressure, signal } = options;
  const windows = splitRange(series, range, options);
  const inTurn = oneAtATime();
  let obstacle: string | undefined;
  let failure: unknown;

  const nextWindow = (session: Session) =>
    inTurn(async () => {
      // Before anything is waited for: a run that is through has no time to be up.
      if (windows.areOver()) return undefined;
      obstacle ??= await waitForOthers(options);
      return obstacle === undefined ? await windows.next(session) : undefined;
    });
  const moveWindow = async (session: Session, window: Window) => {
    let tookMs = 0;
    const counts = await retry(
      async () => {
        const id = randomUUID();
        options.onBegin(id);
        const startedMs = performance.now();
        const moved = await moveBatch(session, series, { ...options, id, window }).catch(
          (error) => {
            if (!isConnectionLost(error)) options.onRolledBack(id);
            throw error;
          },
        );
        tookMs = performance.now() - startedMs;
        options.onBatch({ ...moved, id, untilMs: window.toMs });
        return moved;
      },
      {
        isTransient: (error) =>
          [...IN_THE_WAY, SQLSTATE.uniqueViolation].includes(sqlState(error) ?? ''),
        firstDelayMs: FIRST_RETRY_MS,
        signal,
      },
    );
    windows.after(window, counts.movedRows + counts.droppedRows);
    const pauseMs = pace.after(tookMs, pressure.takeBlocked());
    if (pauseMs > 0) await wait(pauseMs, signal);
  };

  await inParallel(sessions, sessions.length, async (session) => {
    const isHelper = session !== sessions[0];
    while (!(isHelper && pressure.isShared)) {
      try {
        const window = await nextWindow(session);
        if (window === undefined) return;
        await moveWindow(session, window);
      } catch (error) {
        const isInTheWay = IN_THE_WAY.includes(sqlState(error) ?? '');
        // Whatever it is, the other session begins no batch any more.
        obstacle ??= `${isInTheWay ? 'others work on its candles: ' : ''}${describeError(error)}`;
        if (!isInTheWay && error !== signal.reason) failure ??= error;
        if (signal.aborted || !isInTheWay) throw error;
      }
    }
  }).catch((error) => {
    // Of two, the one that says more than that it was told to end.
    throw failure ?? error;
  });
  return obstacle;
}

interface Window extends TimeRange {
  /** Candles that it has room for. */
  rows: number;
}

/** Splits a range into windows, each as long as the pace allows just then, and leaves out gaps. */
function splitRange(series: Series, range: TimeRange, { direction, pace }: MoveOptions) {
  let fromMs: number | undefined = range.fromMs;
  // Where the last batch was full the next one begins, most likely, with a candle.
  let isGap = true;
  return {
    areOver: () => fromMs === undefined || fromMs >= range.toMs,
    next: async (session: Session): Promise<Window | undefined> => {
      if (isGap && fromMs !== undefined)
        fromMs = await nextOpenTime(session, series, direction, { ...range, fromMs });
      if (fromMs === undefined) return undefined;
      isGap = false;
      const { rows } = pace;
      const fullMs = addSteps(series.interval, floorToGrid(series.interval, fromMs), rows);
      const window = { fromMs, toMs: Math.min(fullMs, range.toMs), rows };
      fromMs = window.toMs;
      return window;
    },
    after: (window: Window, rows: number) => {
      isGap = rows < window.rows;
    },
  };
}

/** Backs off while others suffer. @returns why no other batch may begin, in words */
async function waitForOthers(options: MoveOptions): Promise<string | undefined> {
  const { pressure, untilMs, signal } = options;
  const sinceMs = performance.now();
  let told: string | undefined;
  while (true) {
    signal.throwIfAborted();
    if (performance.now() >= untilMs) return 'the time is up';
    const { reason } = pressure;
    if (reason === undefined) return undefined;
    if (performance.now() - sinceMs > MAX_BACK_OFF_MS) return reason;
    if (told === undefined) options.onBackOff(reason);
    told = reason;
    await wait(LOOK_AGAIN_MS, signal);
  }
}

async function nextOpenTime(
  session: Session,
  { instrument, interval }: Series,
  direction: Direction,
  range: TimeRange,
): Promise<number | undefined> {
  const [found] = await runSql<{ next_time: Date | null }>(session, 'archive/next_time.sql', {
    source: tablesOf(instrument, direction).source,
    instrument_id: instrument.id,
    interval,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
  });
  return found?.next_time?.getTime();
}
