import { formatTime, oneAtATime, wait } from '../base/mod.ts';
import type { Market } from '../market/mod.ts';
import { BannedError, MAX_WAIT_MS } from './answer.ts';
import type { RequestLedger } from './ledger.ts';

export interface BudgetOptions {
  market: Market;
  /** Weight that all programs on this address may have spent in a minute before we wait. */
  allowance: number;
  ledger: RequestLedger;
  /** The exchange's clock, Unix ms: its minutes count. */
  nowMs: () => number;
  signal: AbortSignal;
  /** Told before it waits for more than a moment. */
  onWait: (message: string) => void;
}

/** What was spent by this process, and the fullest minute of the whole address. */
export interface BudgetTotals {
  requests: number;
  weight: number;
  highestMinute: number;
}

/** One market's request weight. */
export interface Budget {
  /**
   * Waits until so much weight may be spent, and spends it.
   * @returns to be told when the answer is there, with the weight that Binance has counted
   * @throws BannedError (75); the signal's reason
   */
  spend(weight: number): Promise<(usedWeight: number | undefined) => void>;
  /** Binance said to wait: nobody asks for so long. */
  pause(pauseMs: number, isBan: boolean): Promise<void>;
  readonly totals: BudgetTotals;
}

const MINUTE_MS = 60_000;
/**
 * Weight taken from the ledger at once: fewer trips to the database, and little is lost with a
 * run that ends or is killed.
 */
const LEASE = 10;
/** The exchange's minute may begin a little later than our idea of it. */
const MINUTE_BEGINS_LATE_MS = 300;
const LONG_WAIT_MS = 2_000;

/**
 * Lets requests through in bursts while there is weight left in the minute, then waits for the
 * next one. Windows are fixed clock minutes, shared by all programs on the address.
 */
export function createBudget(options: BudgetOptions): Budget {
  const { market, allowance, ledger, nowMs, signal, onWait } = options;
  const takeTurns = oneAtATime();
  const totals: BudgetTotals = { requests: 0, weight: 0, highestMinute: 0 };
  const lease = { minute: 0, left: 0 };
  /** What Binance has counted in a minute, and what we have under way besides. */
  const seen = { minute: 0, used: 0 };
  let underWay = 0;
  /** Known here before the ledger knows: by performance.now(). */
  const pause = { untilMs: 0, isBan: false };
  let spentInMinute = 0;

  const reserve = async (minute: number, wanted: number): Promise<void> => {
    const { granted, pauseMs, isBan } = await ledger.reserve({
      market,
      minuteMs: minute * MINUTE_MS,
      seen: (seen.minute === minute ? seen.used : 0) + underWay + lease.left,
      wanted,
      allowance,
    });
    lease.left += granted;
    if (pauseMs > 0) return await endPause(pauseMs, isBan);
    if (granted > 0) return;
    const waitMs = (minute + 1) * MINUTE_MS - nowMs() + MINUTE_BEGINS_LATE_MS;
    if (waitMs > LONG_WAIT_MS) onWait(`This minute's weight is spent${goingOn(waitMs)}`);
    await wait(waitMs, signal);
  };

  const endPause = async (pauseMs: number, isBan: boolean): Promise<void> => {
    if (isBan || pauseMs > MAX_WAIT_MS) throw new BannedError(Date.now() + pauseMs);
    onWait(`Binance asks to wait (429)${goingOn(pauseMs)}`);
    await wait(pauseMs, signal);
  };

  const take = async (weight: number): Promise<number> => {
    while (true) {
      signal.throwIfAborted();
      const pauseMs = pause.untilMs - performance.now();
      if (pauseMs > 0) {
        lease.left = 0;
        await endPause(pauseMs, pause.isBan);
        continue;
      }
      const minute = Math.floor(nowMs() / MINUTE_MS);
      if (lease.minute !== minute) {
        Object.assign(lease, { minute, left: 0 });
        spentInMinute = 0;
      }
      if (lease.left >= weight) {
        lease.left -= weight;
        underWay += weight;
        spentInMinute += weight;
        totals.requests += 1;
        totals.weight += weight;
        totals.highestMinute = Math.max(totals.highestMinute, spentInMinute);
        return minute;
      }
      await reserve(minute, Math.max(weight - lease.left, LEASE));
    }
  };

  return {
    totals,
    async spend(weight) {
      const minute = await takeTurns(() => take(weight));
      return (usedWeight) => {
        underWay -= weight;
        // A count that was made in the minute before says nothing of this one.
        if (usedWeight === undefined || minute !== Math.floor(nowMs() / MINUTE_MS)) return;
        if (seen.minute !== minute) Object.assign(seen, { minute, used: 0 });
        seen.used = Math.max(seen.used, usedWeight);
        totals.highestMinute = Math.max(totals.highestMinute, usedWeight);
      };
    },
    async pause(pauseMs, isBan) {
      pause.untilMs = Math.max(pause.untilMs, performance.now() + pauseMs);
      pause.isBan ||= isBan;
      await ledger.pause(market, pauseMs, isBan);
    },
  };
}

function goingOn(waitMs: number): string {
  return `: going on at ${formatTime(Math.ceil((Date.now() + waitMs) / 1000) * 1000)}`;
}
