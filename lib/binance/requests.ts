import type { Dispatcher } from 'undici';
import type { ZodType } from 'zod';
import { type Env, z } from '../base/mod.ts';
import type { Market } from '../market/mod.ts';
import { BannedError, checkAnswer, RateLimitedError, TransientError } from './answer.ts';
import { type BudgetTotals, createBudget } from './budget.ts';
import { httpGet } from './http.ts';
import type { SharedPauses } from './pauses.ts';
import { retryTransient } from './retry.ts';
import { TIME_WEIGHT, WEIGHT_PER_MINUTE } from './weights.ts';

export interface RequestOptions {
  /** Undefined where nothing can be written: then this run keeps its pauses to itself. */
  pauses: SharedPauses | undefined;
  signal: AbortSignal;
  /** Called when Binance makes the run wait, and before each retry. */
  onWait: (message: string) => void;
}

/** Requests to one market: within its budget, and retried where that helps. */
export interface Requests {
  /**
   * The body of one good answer. After a 429 (or -1003) all runs wait, then the request is sent again.
   * @throws what checkAnswer and httpGet throw, except RateLimitedError
   */
  get(url: string, weight: number): Promise<string>;
  /** One good answer as JSON; requested again, with growing waits, until it fits the schema. */
  getJson<T>(path: string, weight: number, schema: ZodType<T>): Promise<T>;
  /** The exchange's clock, Unix ms. Requested once, then continued by ours. */
  serverTimeMs(): Promise<number>;
  readonly totals: BudgetTotals;
}

const serverTime = z.object({ serverTime: z.int() });

export function createRequests(
  market: Market,
  env: Env,
  dispatcher: Dispatcher,
  { pauses, signal, onWait }: RequestOptions,
): Requests {
  /** Added to performance.now(), gives the exchange's clock. */
  let clockOffsetMs = performance.timeOrigin;
  let isClockKnown = false;
  const nowMs = () => clockOffsetMs + performance.now();
  let clock: Promise<void> | undefined;
  const budget = createBudget({
    market,
    allowance: Math.floor((WEIGHT_PER_MINUTE[market] * env.weightPercent) / 100),
    pauses,
    nowMs,
    signal,
    onWait,
  });

  const get: Requests['get'] = async (url, weight) => {
    while (true) {
      const reportUsed = await budget.spend(weight);
      try {
        const answer = await httpGet(url, dispatcher, signal, env.timeoutMs);
        const usedWeight = Number(answer.headers['x-mbx-used-weight-1m']);
        if (usedWeight > 0) reportUsed(usedWeight);
        const exchangeNowMs = isClockKnown ? nowMs() : undefined;
        return checkAnswer(answer, url, { nowMs: Date.now(), exchangeNowMs });
      } catch (error) {
        if (error instanceof BannedError)
          await budget.pause({ pauseMs: error.untilMs - Date.now(), isBan: true });
        if (!(error instanceof RateLimitedError)) throw error;
        await budget.pause({ pauseMs: error.pauseMs, isBan: false });
      }
    }
  };

  const getJson: Requests['getJson'] = (path, weight, schema) =>
    retryTransient(
      async () => {
        const body = await get(`${baseUrl(env, market)}/${path}`, weight);
        const parsed = schema.safeParse(parseJson(body));
        if (parsed.success) return parsed.data;
        throw new TransientError(
          `Binance answered ${path.split('?')[0]} with ${JSON.stringify(body.slice(0, 80))}.`,
        );
      },
      { signal, onWait },
    );

  const startClock = async (): Promise<void> => {
    const answer = await getJson('time', TIME_WEIGHT, serverTime);
    clockOffsetMs = answer.serverTime - performance.now();
    isClockKnown = true;
  };

  return {
    get,
    getJson,
    totals: budget.totals,
    async serverTimeMs() {
      clock ??= startClock().catch((error) => {
        clock = undefined;
        throw error;
      });
      await clock;
      return Math.floor(nowMs());
    },
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
