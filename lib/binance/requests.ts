import { type Env, retry } from '../base/mod.ts';
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
import type { RequestLedger } from './ledger.ts';
import { WEIGHT_PER_MINUTE } from './weights.ts';

export interface RequestOptions {
  ledger: RequestLedger;
  signal: AbortSignal;
  /** Told when Binance makes us wait and before each new try. */
  onWait: (message: string) => void;
}

/** Requests to Binance: each within the budget, over kept connections, asked again where that helps. */
export interface Requests {
  /**
   * One good answer. A 429 is waited for, by all runs together, and asked again.
   * @throws what checkAnswer and httpGet throw, but for RateLimitedError
   */
  get(market: Market, url: string, weight: number): Promise<HttpAnswer>;
  /** One good answer as JSON; asked again, with growing waits, while it is not `isGood`. */
  getJson<T>(
    market: Market,
    path: string,
    weight: number,
    isGood: (body: unknown) => body is T,
  ): Promise<T>;
  /** Does it again, with growing waits, while it fails with a TransientError. */
  persistently<T>(work: () => Promise<T>): Promise<T>;
  /** @param offsetMs what to add to performance.now() for the exchange's clock, Unix ms */
  setClock(market: Market, offsetMs: number): void;
  totals(): Partial<Record<Market, BudgetTotals>>;
  close(): Promise<void>;
}

export function createRequests(env: Env, { ledger, signal, onWait }: RequestOptions): Requests {
  const dispatcher = createDispatcher(env.httpsProxy);
  const clockOffsetsMs = new Map<Market, number>();
  const budgets = new Map<Market, Budget>();

  const budgetOf = (market: Market): Budget => {
    let budget = budgets.get(market);
    if (!budget) {
      budget = createBudget({
        market,
        allowance: Math.floor((WEIGHT_PER_MINUTE[market] * env.weightPercent) / 100),
        ledger,
        nowMs: () => (clockOffsetsMs.get(market) ?? performance.timeOrigin) + performance.now(),
        signal,
        onWait,
      });
      budgets.set(market, budget);
    }
    return budget;
  };

  const get: Requests['get'] = async (market, url, weight) => {
    const budget = budgetOf(market);
    while (true) {
      const settle = await budget.spend(weight);
      let usedWeight: number | undefined;
      try {
        const answer = await httpGet(url, dispatcher, signal, env.timeoutMs);
        usedWeight = Number(answer.headers['x-mbx-used-weight-1m']) || undefined;
        checkAnswer(answer, url, Date.now());
        return answer;
      } catch (error) {
        if (error instanceof BannedError) await budget.pause(error.untilMs - Date.now(), true);
        if (!(error instanceof RateLimitedError)) throw error;
        await budget.pause(error.pauseMs, false);
      } finally {
        settle(usedWeight);
      }
    }
  };

  const persistently: Requests['persistently'] = (work) =>
    retry(work, {
      signal,
      isTransient: (error) => error instanceof TransientError,
      onRetry: (error, delayMs) =>
        onWait(`${(error as Error).message} Trying again in ${(delayMs / 1000).toFixed(1)} s`),
    });

  const getJson: Requests['getJson'] = (market, path, weight, isGood) =>
    persistently(async () => {
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
    persistently,
    setClock: (market, offsetMs) => clockOffsetsMs.set(market, offsetMs),
    totals: () =>
      Object.fromEntries([...budgets].map(([market, budget]) => [market, budget.totals])),
    close: () => dispatcher.destroy(),
  };
}

/** @returns undefined when it is no JSON */
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
