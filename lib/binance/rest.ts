import { createRequire } from 'node:module';
import type { binance } from 'ccxt';
import { DAY_MS, type Env } from '../base/mod.ts';
import { type Interval, type Market, type TimeRange, whyRejected } from '../market/mod.ts';
import { TransientError, UnknownSymbolError } from './answer.ts';
import type { BudgetTotals } from './budget.ts';
import { isExchangeInfo, type ListedSymbol, readListed } from './exchange-info.ts';
import { baseUrl, createRequests, type RequestOptions } from './requests.ts';
import { EXCHANGE_INFO_WEIGHT, klinesWeight, TIME_WEIGHT } from './weights.ts';

/** A kline as Binance sends it, not checked: 12 fields, decimals as strings. */
export type RawKline = readonly unknown[];

export interface RestSource {
  /** The exchange's clock, Unix ms. Requested once for each market, then continued by ours. */
  serverTimeMs(market: Market): Promise<number>;
  /** All symbols listed on the market (usdm: perpetuals only), or only the given one. */
  symbols(market: Market, exchangeSymbol?: string): Promise<ListedSymbol[]>;
  /** When the first 1m candle of a symbol opened, Unix ms; undefined: there is none yet. */
  firstOpenMs(market: Market, exchangeSymbol: string): Promise<number | undefined>;
  /**
   * One page: candles that open in `range`, oldest first, at most `limit`. The last one may still
   * be forming.
   */
  klines(page: KlinesPage): Promise<RawKline[]>;
  /** What was spent on each market so far. */
  totals(): Partial<Record<Market, BudgetTotals>>;
  close(): Promise<void>;
}

export interface KlinesPage {
  market: Market;
  exchangeSymbol: string;
  interval: Interval;
  range: TimeRange;
  limit: number;
  /** Called before each request, retries included. */
  onRequest?: (() => void) | undefined;
}

/** ccxt's raw endpoints, which leave decimals as strings, over our own transport and error rules. */
export function createRestSource(env: Env, options: RequestOptions): RestSource {
  const requests = createRequests(env, options);
  const exchanges = new Map<Market, binance>();
  const clocks = new Map<Market, Promise<number>>();

  const exchangeFor = (market: Market): binance => {
    let exchange = exchanges.get(market);
    if (!exchange) {
      exchange = createExchange(env, async (url) => {
        const limit = Number(new URL(url).searchParams.get('limit'));
        const weight = klinesWeight(market, limit);
        const { status, headers, body } = await requests.get(market, url, weight);
        return { status, statusText: '', headers: new Headers(headers), text: async () => body };
      });
      exchanges.set(market, exchange);
    }
    return exchange;
  };

  const startClock = async (market: Market): Promise<number> => {
    const answer = await requests.getJson(
      market,
      'time',
      TIME_WEIGHT,
      (body): body is { serverTime: number } =>
        Number.isInteger((body as { serverTime?: unknown } | null)?.serverTime),
    );
    const offset = answer.serverTime - performance.now();
    requests.setClock(market, offset);
    return offset;
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
      const info = await requests.getJson(
        market,
        `exchangeInfo${query}`,
        EXCHANGE_INFO_WEIGHT[market],
        isExchangeInfo,
      );
      const listed = info.symbols.flatMap((symbol) => readListed(market, symbol));
      return exchangeSymbol
        ? listed.filter((symbol) => symbol.exchangeSymbol === exchangeSymbol)
        : listed;
    },
    async firstOpenMs(market, exchangeSymbol) {
      const query = `symbol=${encodeURIComponent(exchangeSymbol)}&interval=1m&startTime=0&limit=1`;
      const asked = { fromMs: 0, toMs: Date.now() + DAY_MS };
      const rows = await requests.getJson(
        market,
        `klines?${query}`,
        klinesWeight(market, 1),
        (body): body is string[][] =>
          Array.isArray(body) &&
          body.every(
            (row) => Array.isArray(row) && whyRejected(row.map(String), asked, '1m') === undefined,
          ),
      );
      return rows[0] === undefined ? undefined : Number(rows[0][0]);
    },
    async klines({ market, exchangeSymbol, interval, range, limit, onRequest }) {
      const query = {
        symbol: exchangeSymbol,
        interval,
        startTime: range.fromMs,
        endTime: range.toMs - 1,
        limit,
      };
      const request = async (): Promise<RawKline[]> => {
        onRequest?.();
        const exchange = exchangeFor(market);
        const rows = await (market === 'spot'
          ? exchange.publicGetKlines(query)
          : exchange.fapiPublicGetKlines(query));
        if (!Array.isArray(rows))
          throw new TransientError(`Binance sent no list of candles for ${exchangeSymbol}.`);
        return rows;
      };
      return await requests.retry(async () => {
        try {
          return await request();
        } catch (error) {
          // The symbol is registered, so one such answer is not believed.
          if (error instanceof UnknownSymbolError) return await request();
          throw error;
        }
      });
    },
    totals: requests.totals,
    close: requests.close,
  };
}

type Fetch = (url: string) => Promise<unknown>;

/** ccxt takes 0.4 s to load, so it is loaded only here, by require, which is twice as fast as import. */
function createExchange(env: Env, fetchImplementation: Fetch): binance {
  const { binance: Binance } = createRequire(import.meta.url)('ccxt') as typeof import('ccxt');
  const exchange = new Binance({
    // Our budget also counts what other programs spend.
    enableRateLimit: false,
    maxRetriesOnFailure: 0,
  });
  const api = exchange.urls.api as Record<string, string>;
  api.public = baseUrl(env, 'spot');
  api.fapiPublic = baseUrl(env, 'usdm');
  exchange.fetchImplementation = fetchImplementation;
  return exchange;
}
