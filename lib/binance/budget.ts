import { createSemaphore, formatTime, wait } from '../base/mod.ts';
import type { Market } from '../market/mod.ts';
import { BannedError, MAX_WAIT_MS } from './answer.ts';
import type { Pause, SharedPauses } from './pauses.ts';

export interface BudgetOptions {
  market: Market;
  /** Weight that all programs on this address may have spent in a minute before this one waits. */
  allowance: number;
  /** Undefined: only this run keeps the pauses, since it cannot write to the database. */
  pauses: SharedPauses | undefined;
  /** The exchange's clock, Unix ms. Its minutes count. */
  nowMs: () => number;
  signal: AbortSignal;
  /** Called before it waits for more than a moment. */
  onWait: (message: string) => void;
}

/** What this process has spent, and the highest weight of the whole address in one minute. */
export interface BudgetTotals {
  requests: number;
  weight: number;
  highestMinute: number;
}

/** One market's request weight. */
export interface Budget {
  /**
   * Waits until the weight may be spent, and spends it.
   * @returns to be called with the weight that Binance has counted by the answer
   * @throws BannedError (75); the signal's reason
   */
  spend(weight: number): Promise<(usedWeight: number) => void>;
  /** Stops the requests of all runs on this database for a while. */
  pause(pause: Pause): Promise<void>;
  readonly totals: BudgetTotals;
}

interface Minute {
  number: number;
  /** Weight that all programs on the address have spent, as far as this process knows. */
  used: number;
}

const MINUTE_MS = 60_000;
/** The exchange's minute may begin a little later than our clock says. */
const MINUTE_BEGINS_LATE_MS = 300;
const LONG_WAIT_MS = 2_000;
/** How often to check whether Binance made another run pause. */
const READ_PAUSES_MS = 1_000;

/**
 * Lets requests through in bursts while there is weight left in the minute, then waits for the
 * next one. Windows are fixed clock minutes, shared by all programs on the address. Binance sends
 * what it has counted with every answer, so the only weight that is not known is that of requests
 * under way: far less than the part of the limit that is never used.
 */
export function createBudget(options: BudgetOptions): Budget {
  const { market, allowance, pauses, nowMs, signal, onWait } = options;
  const turns = createSemaphore(1);
  const totals: BudgetTotals = { requests: 0, weight: 0, highestMinute: 0 };
  let minute: Minute = { number: 0, used: 0 };
  /** By performance.now(). */
  let pauseUntilMs = 0;
  let isBanned = false;
  let readPausesAtMs = 0;

  const currentMinute = (): Minute => {
    const number = Math.floor(nowMs() / MINUTE_MS);
    if (number !== minute.number) minute = { number, used: 0 };
    return minute;
  };

  const raise = (which: Minute, used: number): void => {
    which.used = Math.max(which.used, used);
    totals.highestMinute = Math.max(totals.highestMinute, which.used);
  };

  const keepPause = ({ pauseMs, isBan }: Pause): void => {
    pauseUntilMs = Math.max(pauseUntilMs, performance.now() + pauseMs);
    isBanned ||= isBan;
  };

  const waitForPause = async (): Promise<void> => {
    if (pauses && performance.now() >= readPausesAtMs) {
      const shared = await pauses.read(market);
      if (shared) keepPause(shared);
      readPausesAtMs = performance.now() + READ_PAUSES_MS;
    }
    const pauseMs = pauseUntilMs - performance.now();
    if (pauseMs <= 0) return;
    if (isBanned || pauseMs > MAX_WAIT_MS) throw new BannedError(Date.now() + pauseMs);
    onWait(`Binance asks to wait (429)${formatResumeTime(pauseMs)}`);
    await wait(pauseMs, signal);
    await waitForPause();
  };

  const take = async (weight: number): Promise<Minute> => {
    while (true) {
      signal.throwIfAborted();
      await waitForPause();
      const now = currentMinute();
      if (now.used + weight <= allowance) {
        totals.requests += 1;
        totals.weight += weight;
        raise(now, now.used + weight);
        return now;
      }
      const waitMs = (now.number + 1) * MINUTE_MS - nowMs() + MINUTE_BEGINS_LATE_MS;
      if (waitMs > LONG_WAIT_MS) onWait(`This minute's weight is spent${formatResumeTime(waitMs)}`);
      await wait(waitMs, signal);
    }
  };

  return {
    totals,
    async spend(weight) {
      const endTurn = await turns.acquire(signal);
      const spentIn = await take(weight).finally(endTurn);
      return (usedWeight) => {
        // The count of an earlier minute says nothing about this one.
        if (spentIn === currentMinute()) raise(spentIn, usedWeight);
      };
    },
    async pause(pause) {
      keepPause(pause);
      await pauses?.extend(market, pause);
    },
  };
}

function formatResumeTime(waitMs: number): string {
  return `: continuing at ${formatTime(Math.ceil((Date.now() + waitMs) / 1000) * 1000)}`;
}
