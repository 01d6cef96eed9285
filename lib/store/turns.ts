import {
  describeError,
  EXIT,
  type ExitCode,
  inParallel,
  KlinekeepError,
  retry,
  wait,
} from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';
import {
  createSessionPool,
  type Database,
  explainFullLockTable,
  isConnectionLost,
  isLockTableFull,
  lossOf,
  type Session,
} from '../postgres/mod.ts';
import { helpWith, withInstrumentLock } from './locks.ts';

/** How the work on one instrument ended. */
export type InstrumentRun<T> =
  | { instrument: Instrument; state: 'done'; result: T }
  | { instrument: Instrument; state: 'held' }
  | { instrument: Instrument; state: 'failed'; error: unknown };

/** One instrument's turn. Another one follows when its connection is lost. */
export interface Turn {
  /** Holds the instrument's lock. */
  session: Session;
  instrument: Instrument;
  index: number;
  /** Aborted when the run is to stop, and when a session of this turn is lost. */
  signal: AbortSignal;
  /** A second session, until the turn ends, that writes under the same lock. None where there is no room. */
  openHelper(): Promise<Session[]>;
}

export interface EachOptions {
  /** Instruments worked on at the same time, each on a connection of its own. */
  concurrency: number;
  signal: AbortSignal;
  /**
   * How long to wait, once all others are done, for instruments that another run holds; each is
   * then worked on as usual. Default 0: they are left.
   */
  patienceMs?: number;
  /** Errors that concern every instrument, such as a ban by the exchange. Default: none. */
  endsRun?: (error: unknown) => boolean;
  onHeld?: (instrument: Instrument, index: number) => void;
  onFailed?: (instrument: Instrument, index: number, error: unknown) => void;
}

/** The server looks every five seconds whether a client is still there. */
const LOST_LOCK_MS = 15_000;
/** A helper that has not answered by then is done without. */
const HELPER_PATIENCE_MS = 2_000;
/** How often it looks whether another run has let go of an instrument. */
const HELD_AGAIN_MS = 250;

/**
 * Works on each instrument as its only writer. One that fails, or that another run holds, never
 * stops the others.
 * @returns one entry for each instrument, in their order
 * @throws the signal's reason when it is aborted; an error that ends the run
 */
export async function eachInstrument<T>(
  database: Database,
  instruments: readonly Instrument[],
  options: EachOptions,
  work: (turn: Turn) => Promise<T>,
): Promise<InstrumentRun<T>[]> {
  const { concurrency, signal, patienceMs = 0, endsRun = () => false } = options;
  const sessions = createSessionPool(database);
  const runs: InstrumentRun<T>[] = [];

  /** On a connection that is kept for the next one only if it is still good. */
  const attempt = async (instrument: Instrument, index: number): Promise<T | 'held'> => {
    const session = await sessions.acquire(signal);
    const helpers: Session[] = [];
    const helperLost = new AbortController();
    const loss = AbortSignal.any([lossOf(session), helperLost.signal]);
    const turn: Turn = {
      session,
      instrument,
      index,
      signal: AbortSignal.any([signal, loss]),
      openHelper: async () => {
        const helper = database.openSession(0);
        if (!(await answers(helper, turn.signal))) {
          helper.end({ timeout: 0 }).catch(() => {});
          return [];
        }
        helpers.push(helper);
        lossOf(helper).addEventListener('abort', () => helperLost.abort(lossOf(helper).reason));
        await helpWith(session, helper);
        return [helper];
      },
    };
    const result = await Promise.race([
      withInstrumentLock(session, instrument.id, () => work(turn)),
      rejectionOf(loss),
    ]).finally(() => {
      const isLost = loss.aborted;
      for (const helper of helpers) helper.end({ timeout: isLost ? 0 : 5 }).catch(() => {});
      if (isLost) sessions.discard(session);
      else sessions.release(session);
    });
    return result;
  };

  const takeTurn = async (index: number, instrument: Instrument): Promise<void> => {
    signal.throwIfAborted();
    // After a lost connection it may be our own lock that the server has not let go of yet.
    let patientUntilMs = 0;
    const persist = async (): Promise<T | 'held'> => {
      while (true) {
        const result = await attempt(instrument, index);
        if (result !== 'held' || performance.now() >= patientUntilMs) return result;
        await wait(HELD_AGAIN_MS, signal);
      }
    };
    try {
      const result = await retry(persist, {
        signal,
        isTransient: (error) => isConnectionLost(error) || isLockTableFull(error),
        onRetry: (error) => {
          if (isConnectionLost(error)) patientUntilMs = performance.now() + LOST_LOCK_MS;
        },
      });
      runs[index] =
        result === 'held' ? { instrument, state: 'held' } : { instrument, state: 'done', result };
    } catch (thrown) {
      const error = explainFullLockTable(thrown);
      if (signal.aborted || endsRun(error)) throw error;
      options.onFailed?.(instrument, index, error);
      runs[index] = { instrument, state: 'failed', error };
    }
  };

  let left = [...instruments.entries()];
  const pass = async () => {
    await inParallel(left, concurrency, ([index, instrument]) => takeTurn(index, instrument));
    left = left.filter(([index]) => runs[index]?.state === 'held');
  };
  await pass();
  const giveUpMs = performance.now() + patienceMs;
  while (left.length > 0 && performance.now() < giveUpMs) {
    await wait(HELD_AGAIN_MS, signal);
    await pass();
  }
  for (const [index, instrument] of left) options.onHeld?.(instrument, index);
  return runs;
}

/** Whether a new session gets through to the server: there may be no connection left for it. */
async function answers(session: Session, signal: AbortSignal): Promise<boolean> {
  const over = new AbortController();
  const isOpen = await Promise.race([
    session`select 1`.then(
      () => true,
      () => false,
    ),
    wait(HELPER_PATIENCE_MS, AbortSignal.any([signal, over.signal])).then(
      () => false,
      () => false,
    ),
  ]);
  over.abort();
  return isOpen && !lossOf(session).aborted;
}

function rejectionOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** 1 if some failed, 75 if some were held by another run or are to come back later, 0 if all got done. */
export function exitCodeOf(runs: readonly InstrumentRun<unknown>[]): ExitCode {
  const failed = runs.flatMap((run) => (run.state === 'failed' ? [run.error] : []));
  const isLater = (error: unknown) =>
    error instanceof KlinekeepError && error.exitCode === EXIT.later;
  if (failed.some((error) => !isLater(error))) return EXIT.failed;
  if (failed.length > 0) return EXIT.later;
  if (runs.some((run) => run.state === 'held')) return EXIT.later;
  return EXIT.done;
}

/** What was done, held and failed, sorted for a summary. */
export function sortRuns<T>(runs: readonly InstrumentRun<T>[]) {
  return {
    done: runs.flatMap((run) => (run.state === 'done' ? [run.result] : [])),
    held: runs.flatMap((run) => (run.state === 'held' ? [run.instrument.symbol] : [])),
    failed: runs.flatMap((run) =>
      run.state === 'failed'
        ? [{ symbol: run.instrument.symbol, error: describeError(run.error) }]
        : [],
    ),
  };
}

/** One instrument that fails alone is the run's own failure, with its exit code and hint. */
export function throwIfOnlyFailure(runs: readonly InstrumentRun<unknown>[]): void {
  const [only, ...others] = runs;
  if (others.length === 0 && only?.state === 'failed') throw only.error;
}
