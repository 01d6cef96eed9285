import { inParallel, retry, wait } from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';
import {
  createSessionPool,
  type Database,
  explainFullLockTable,
  isConnectionLost,
  isLockTableFull,
  type Session,
  type SessionPool,
} from '../postgres/mod.ts';
import type { InstrumentResult } from './instrument-results.ts';
import { InstrumentBusy, withInstrumentLock } from './locks.ts';
import { TaskSessions } from './task-sessions.ts';

/** The work on one instrument, over one connection. When that is lost another task follows. */
export interface Task {
  /** Holds the instrument's lock. */
  session: Session;
  instrument: Instrument;
  /** The instrument's place in the list. */
  index: number;
  /** Aborted when the run has to stop, and when a session of this task is lost. */
  signal: AbortSignal;
  /**
   * Opens a second session, which writes under the same lock until the task ends.
   * @returns an empty list where the server has no room for one
   */
  openHelper(): Promise<Session[]>;
}

export interface EachOptions {
  /** How many instruments are worked on at the same time, each on a connection of its own. */
  concurrency: number;
  signal: AbortSignal;
  /**
   * How long to try the busy instruments again after all others are done. Default 0: they are
   * skipped.
   */
  patienceMs?: number;
  /** Errors that concern every instrument, such as a ban by the exchange. Default: none. */
  endsRun?: (error: unknown) => boolean;
  /** Another run works on the instrument, so it is skipped. */
  onBusy?: (instrument: Instrument, index: number) => void;
  onFailed?: (instrument: Instrument, index: number, error: unknown) => void;
}

/** The server checks every five seconds whether a client is still there. */
const LOST_LOCK_MS = 15_000;
/** How often a busy instrument is tried again. */
const BUSY_RETRY_MS = 250;

/**
 * Works on each instrument as its only writer. An instrument that fails or is busy never stops the
 * others.
 * @returns one result for each instrument, in the order of `instruments`
 * @throws the signal's reason when it is aborted; an error that ends the run
 */
export async function eachInstrument<T>(
  database: Database,
  instruments: readonly Instrument[],
  options: EachOptions,
  work: (task: Task) => Promise<T>,
): Promise<InstrumentResult<T>[]> {
  const { concurrency, signal, patienceMs = 0 } = options;
  const sessions = createSessionPool(database);
  const results: InstrumentResult<T>[] = [];
  let left = [...instruments.entries()];

  const workOnLeft = async () => {
    await inParallel(left, concurrency, async ([index, instrument]) => {
      results[index] = await workOnOne(instrument, index, options, () =>
        attempt({ database, sessions, signal }, instrument, index, work),
      );
    });
    left = left.filter(([index]) => results[index]?.state === 'busy');
  };
  await workOnLeft();
  const giveUpMs = performance.now() + patienceMs;
  while (left.length > 0 && performance.now() < giveUpMs) {
    await wait(BUSY_RETRY_MS, signal);
    await workOnLeft();
  }
  for (const [index, instrument] of left) options.onBusy?.(instrument, index);
  return results;
}

/**
 * Attempts one instrument until the attempt says something about the instrument itself: a lost
 * connection or a full lock table does not.
 * @throws the signal's reason when it is aborted; an error that ends the run
 */
async function workOnOne<T>(
  instrument: Instrument,
  index: number,
  { signal, endsRun, onFailed }: EachOptions,
  work: () => Promise<T>,
): Promise<InstrumentResult<T>> {
  signal.throwIfAborted();
  // After a lost connection the server may still hold our own lock, for the session that is gone.
  let lockMayBeOursUntilMs = 0;
  const workUnlessBusy = async (): Promise<T> => {
    while (true) {
      try {
        return await work();
      } catch (error) {
        const isOurs = performance.now() < lockMayBeOursUntilMs;
        if (!(error instanceof InstrumentBusy && isOurs)) throw error;
        await wait(BUSY_RETRY_MS, signal);
      }
    }
  };
  try {
    const result = await retry(workUnlessBusy, {
      signal,
      isTransient: (error) => isConnectionLost(error) || isLockTableFull(error),
      onRetry: (error) => {
        if (isConnectionLost(error)) lockMayBeOursUntilMs = performance.now() + LOST_LOCK_MS;
      },
    });
    return { instrument, state: 'done', result };
  } catch (thrown) {
    if (thrown instanceof InstrumentBusy) return { instrument, state: 'busy' };
    const error = explainFullLockTable(thrown);
    if (signal.aborted || endsRun?.(error)) throw error;
    onFailed?.(instrument, index, error);
    return { instrument, state: 'failed', error };
  }
}

/**
 * Does the work once, with the instrument's lock. The session is used again for another
 * instrument only if its connection is still good.
 * @throws InstrumentBusy when another run has the lock; what `work` throws; an error of
 * `isConnectionLost` as soon as a session is lost, whatever `work` waits for
 */
async function attempt<T>(
  {
    database,
    sessions,
    signal,
  }: { database: Database; sessions: SessionPool; signal: AbortSignal },
  instrument: Instrument,
  index: number,
  work: (task: Task) => Promise<T>,
): Promise<T> {
  const session = await sessions.acquire(signal);
  const own = new TaskSessions(database, session);
  const task: Task = {
    ...{ session, instrument, index },
    signal: AbortSignal.any([signal, own.lost]),
    openHelper: () => own.openHelper(task.signal),
  };
  try {
    return await Promise.race([
      withInstrumentLock(session, instrument.id, () => work(task)),
      rejection(own.lost),
    ]);
  } finally {
    own.closeHelpers();
    if (own.lost.aborted) sessions.discard(session);
    else sessions.release(session);
  }
}

/** A promise that rejects with the signal's reason when it is aborted. */
function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
