import type { Env } from '../base/mod.ts';
import type { Market } from '../market/mod.ts';
import {
  BannedError,
  checkAnswer,
  type HttpAnswer,
  RateLimitedError,
  TransientError,
} from './answer.ts';
import { type Budget, type BudgetTotals, createBudget } from './budget.ts';
import { createDispatcher, httpGet } from './http.ts';
import type { SharedPauses } from './pauses.ts';
import { retryTransient } from './retry.ts';
import { WEIGHT_PER_MINUTE } from './weights.ts';

export interface RequestOptions {
  /** Undefined where nothing can be written: then this run keeps its pauses to itself. */
  pauses: SharedPauses | undefined;
  signal: AbortSignal;
  /** Called when Binance makes the run wait, and before each retry. */
  onWait: (message: string) => void;
}

/** Requests to Binance: within the budget, over connections that are kept, retried where that helps. */
export interface Requests {
  /**
   * One good answer. After a 429 all runs wait, then the request is sent again.
   * @throws what checkAnswer and httpGet throw, except RateLimitedError
   */
  get(market: Market, url: string, weight: number): Promise<HttpAnswer>;
  /** One good answer as JSON; requested again, with growing waits, until `isGood`. */
  getJson<T>(
    market: Market,
    path: string,
    weight: number,
    isGood: (body: unknown) => body is T,
  ): Promise<T>;
  /** Calls `work` again, with growing waits, while it fails with a TransientError. */
  retry<T>(work: () => Promise<T>): Promise<T>;
  /** @param offsetMs what to add to performance.now() for the exchange's clock, Unix ms */
  setClock(market: Market, offsetMs: number): void;
  totals(): Partial<Record<Market, BudgetTotals>>;
  close(): Promise<void>;
}

export function createRequests(env: Env, { pauses, signal, onWait }: RequestOptions): Requests {
  const dispatcher = createDispatcher(env.httpsProxy);
  const clockOffsetsMs = new Map<Market, number>();
  const budgets = new Map<Market, Budget>();

  const budgetFor = (market: Market): Budget => {
    let budget = budgets.get(market);
    if (!budget) {
      budget = createBudget({
        market,
        allowance: Math.floor((WEIGHT_PER_MINUTE[market] * env.weightPercent) / 100),
        pauses,
        nowMs: () => (clockOffsetsMs.get(market) ?? performance.timeOrigin) + performance.now(),
        signal,
        onWait,
      });
      budgets.set(market, budget);
    }
    return budget;
  };

  const get: Requests['get'] = async (market, url, weight) => {
    const budget = budgetFor(market);
    while (true) {
      const reportUsed = await budget.spend(weight);
      try {
        const answer = await httpGet(url, dispatcher, signal, env.timeoutMs);
        const usedWeight = Number(answer.headers['x-mbx-used-weight-1m']);
        if (usedWeight > 0) reportUsed(usedWeight);
        checkAnswer(answer, url, Date.now());
        return answer;
      } catch (error) {
        if (error instanceof BannedError)
          await budget.pause({ pauseMs: error.untilMs - Date.now(), isBan: true });
        if (!(error instanceof RateLimitedError)) throw error;
        await budget.pause({ pauseMs: error.pauseMs, isBan: false });
      }
    }
  };

  const retry: Requests['retry'] = (work) => retryTransient(work, { signal, onWait });

  const getJson: Requests['getJson'] = (market, path, weight, isGood) =>
    retry(async () => {
      const { body } = await get(market, `${baseUrl(env, market)}/${path}`, weight);
      const parsed = parseJson(body);
      if (isGood(parsed)) return parsed;
      throw new TransientError(
        `Binance answered ${path.split('?')[0]} with ${JSON.stringify(body.slice(0, 80))}.`,
      );
    });

  return {
    get,
    getJson,
    retry,
    setClock: (market, offsetMs) => clockOffsetsMs.set(market, offsetMs),
    totals: () =>
      Object.fromEntries([...budgets].map(([market, budget]) => [market, budget.totals])),
    close: () => dispatcher.destroy(),
  };
}

/** @returns undefined when it is not JSON */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Where the REST interface of a market is. */
export function baseUrl(env: Env, market: Market): string {
  return market === 'spot' ? `${env.spotUrl}/api/v3` : `${env.usdmUrl}/fapi/v1`;
}
