import { createRequire } from 'node:module';
import type { binance } from 'ccxt';
import type { Env } from '../env.ts';
import type { Interval, TimeRange } from '../intervals.ts';
import { whyRejected } from '../kline-row.ts';
import { retry, wait } from '../retry.ts';
import type { Market } from '../symbols.ts';
import { DAY_MS, formatTime } from '../time.ts';
import { checkAnswer, type HttpAnswer, RateLimitedError, TransientError } from './answer.ts';
import { isExchangeInfo, type ListedSymbol, readListed } from './exchange-info.ts';
import { createDispatcher, httpGet } from './http.ts';

/** A kline as Binance sends it: 12 fields, decimals as strings. Not checked yet. */
export type RawKline = readonly unknown[];

export interface RestSource {
  /** The exchange's own clock, Unix ms. Asked once a market, then carried on from there. */
  serverTimeMs(market: Market): Promise<number>;
  /** Everything listed on the market (usdm: perpetuals only), or the one symbol that is named. */
  symbols(market: Market, exchangeSymbol?: string): Promise<ListedSymbol[]>;
  /** When the first 1m candle of a symbol opened, Unix ms; undefined: there is none yet. */
  firstOpenMs(market: Market, exchangeSymbol: string): Promise<number | undefined>;
  /**
   * One page: candles that open in `range`, oldest first, `limit` at most. The last one may be
   * still forming.
   */
  klines(
    market: Market,
    exchangeSymbol: string,
    interval: Interval,
    range: TimeRange,
    limit: number,
  ): Promise<RawKline[]>;
  close(): Promise<void>;
}

/**
 * Candles per page. Spot costs 2 weight whatever the size; usdm costs 1 below 100, 2 below 500,
 * 5 to 1000: 499 is the cheapest per candle.
 * https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Kline-Candlestick-Data
 */
export const PAGE_SIZE: Record<Market, number> = { spot: 1000, usdm: 499 };

export interface RestOptions {
  signal: AbortSignal;
  /** Told when Binance makes us wait and before each new try. */
  onWait: (message: string) => void;
}

/** ccxt's raw endpoints with decimals left as strings, over our own transport and error rules. */
export function createRestSource(env: Env, { signal, onWait }: RestOptions): RestSource {
  const dispatcher = createDispatcher(env.httpsProxy);
  const exchanges = new Map<Market, binance>();
  const clocks = new Map<Market, Promise<number>>();
  const pausedUntilMs = new Map<Market, number>();

  /** One request. 429 is waited for, by all of the market together, and asked again. */
  const getChecked = async (market: Market, url: string): Promise<HttpAnswer> => {
    while (true) {
      const pauseMs = (pausedUntilMs.get(market) ?? 0) - Date.now();
      if (pauseMs > 0) await wait(pauseMs, signal);
      signal.throwIfAborted();
      try {
        const answer = await httpGet(url, dispatcher, signal);
        checkAnswer(answer, url, Date.now());
        return answer;
      } catch (error) {
        if (!(error instanceof RateLimitedError)) throw error;
        if (error.untilMs <= (pausedUntilMs.get(market) ?? 0)) continue;
        pausedUntilMs.set(market, error.untilMs);
        onWait(`Binance asks to wait (429): going on at ${formatTime(error.untilMs)}`);
      }
    }
  };

  const persistently = <T>(work: () => Promise<T>): Promise<T> =>
    retry(work, {
      signal,
      isTransient: (error) => error instanceof TransientError,
      onRetry: (error, delayMs) =>
        onWait(`${(error as Error).message} Trying again in ${(delayMs / 1000).toFixed(1)} s`),
    });

  /** What needs no pacing goes without ccxt, which takes its time to load. */
  const getJson = <T>(
    market: Market,
    path: string,
    isGood: (body: unknown) => body is T,
  ): Promise<T> =>
    persistently(async () => {
      const { body } = await getChecked(market, `${baseUrl(env, market)}/${path}`);
      const parsed = JSON.parse(body);
      if (isGood(parsed)) return parsed;
      throw new TransientError(
        `Binance answered ${path.split('?')[0]} with ${JSON.stringify(body.slice(0, 80))}.`,
      );
    });

  const exchangeFor = (market: Market): binance => {
    let exchange = exchanges.get(market);
    if (!exchange) {
      exchange = createExchange(env, async (url) => {
        const { status, headers, body } = await getChecked(market, url);
        return { status, statusText: '', headers: new Headers(headers), text: async () => body };
      });
      exchanges.set(market, exchange);
    }
    return exchange;
  };

  const startClock = async (market: Market): Promise<number> => {
    const answer = await getJson(market, 'time', (body): body is { serverTime: number } =>
      Number.isInteger((body as { serverTime?: unknown }).serverTime),
    );
    return answer.serverTime - performance.now();
  };

  return {
    async serverTimeMs(market) {
      let clock = clocks.get(market);
      if (!clock) {
        clock = startClock(market);
        clocks.set(market, clock);
        clock.catch(() => clocks.delete(market));
      }
      return Math.floor((await clock) + performance.now());
    },
    async symbols(market, exchangeSymbol) {
      const narrowed = market === 'spot' && exchangeSymbol;
      const query = narrowed ? `?symbol=${encodeURIComponent(exchangeSymbol)}` : '';
      const info = await getJson(market, `exchangeInfo${query}`, isExchangeInfo);
      const listed = info.symbols.flatMap((symbol) => readListed(market, symbol));
      return exchangeSymbol
        ? listed.filter((symbol) => symbol.exchangeSymbol === exchangeSymbol)
        : listed;
    },
    async firstOpenMs(market, exchangeSymbol) {
      const query = `symbol=${encodeURIComponent(exchangeSymbol)}&interval=1m&startTime=0&limit=1`;
      const asked = { fromMs: 0, toMs: Date.now() + DAY_MS };
      const rows = await getJson(
        market,
        `klines?${query}`,
        (body): body is string[][] =>
          Array.isArray(body) &&
          body.every((row) => whyRejected(row.map(String), asked, '1m') === undefined),
      );
      return rows[0] === undefined ? undefined : Number(rows[0][0]);
    },
    async klines(market, exchangeSymbol, interval, range, limit) {
      const query = {
        symbol: exchangeSymbol,
        interval,
        startTime: range.fromMs,
        endTime: range.toMs - 1,
        limit,
      };
      return await persistently(async () => {
        const exchange = exchangeFor(market);
        const rows = await (market === 'spot'
          ? exchange.publicGetKlines(query)
          : exchange.fapiPublicGetKlines(query));
        if (!Array.isArray(rows))
          throw new TransientError(`Binance sent no list of candles for ${exchangeSymbol}.`);
        return rows;
      });
    },
    async close() {
      await dispatcher.destroy();
    },
  };
}

function baseUrl(env: Env, market: Market): string {
  return market === 'spot' ? `${env.spotUrl}/api/v3` : `${env.usdmUrl}/fapi/v1`;
}

type Fetch = (url: string) => Promise<unknown>;

/** ccxt takes 0.4 s to load: only here, and through require, which is twice as fast as import. */
function createExchange(env: Env, fetchImplementation: Fetch): binance {
  const { binance: Binance } = createRequire(import.meta.url)('ccxt') as typeof import('ccxt');
  const exchange = new Binance({
    enableRateLimit: true,
    // The default paces requests evenly, usdm at half its quota; this one allows bursts.
    rateLimiterAlgorithm: 'rollingWindow',
    maxRetriesOnFailure: 0,
  });
  const api = exchange.urls.api as Record<string, string>;
  api.public = baseUrl(env, 'spot');
  api.fapiPublic = baseUrl(env, 'usdm');
  exchange.fetchImplementation = fetchImplementation;
  return exchange;
}
