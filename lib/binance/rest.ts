import { createRequire } from 'node:module';
import type { binance } from 'ccxt';
import { DAY_MS, type Env, z } from '../base/mod.ts';
import { type Interval, type Market, type TimeRange, whyRejected } from '../market/mod.ts';
import { TransientError, UnknownSymbolError } from './answer.ts';
import type { BudgetTotals } from './budget.ts';
import { exchangeInfo, type ListedSymbol, readListed } from './exchange-info.ts';
import { createDispatcher } from './http.ts';
import { baseUrl, createRequests, type RequestOptions, type Requests } from './requests.ts';
import { retryTransient } from './retry.ts';
import { EXCHANGE_INFO_WEIGHT, klinesWeight } from './weights.ts';

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
  const dispatcher = createDispatcher(env.httpsProxy);
  const requests = {
    spot: createRequests('spot', env, dispatcher, options),
    usdm: createRequests('usdm', env, dispatcher, options),
  };
  const exchanges: Partial<Record<Market, binance>> = {};

  return {
    serverTimeMs: (market) => requests[market].serverTimeMs(),
    async symbols(market, exchangeSymbol) {
      const narrowed = market === 'spot' && exchangeSymbol;
      const query = narrowed ? `?symbol=${encodeURIComponent(exchangeSymbol)}` : '';
      const weight = EXCHANGE_INFO_WEIGHT[market];
      const info = await requests[market].getJson(`exchangeInfo${query}`, weight, exchangeInfo);
      const listed = info.symbols.flatMap((symbol) => readListed(market, symbol));
      return exchangeSymbol
        ? listed.filter((symbol) => symbol.exchangeSymbol === exchangeSymbol)
        : listed;
    },
    async firstOpenMs(market, exchangeSymbol) {
      const query = `symbol=${encodeURIComponent(exchangeSymbol)}&interval=1m&startTime=0&limit=1`;
      const asked = { fromMs: 0, toMs: Date.now() + DAY_MS };
      const candle = z
        .array(z.unknown())
        .refine((row) => whyRejected(row.map(String), asked, '1m') === undefined);
      const weight = klinesWeight(market, 1);
      const [first] = await requests[market].getJson(`klines?${query}`, weight, z.array(candle));
      return first === undefined ? undefined : Number(first[0]);
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
        exchanges[market] ??= createExchange(env, market, requests[market]);
        const exchange = exchanges[market];
        const rows = await (market === 'spot'
          ? exchange.publicGetKlines(query)
          : exchange.fapiPublicGetKlines(query));
        if (!Array.isArray(rows))
          throw new TransientError(`Binance sent no list of candles for ${exchangeSymbol}.`);
        return rows;
      };
      return await retryTransient(async () => {
        try {
          return await request();
        } catch (error) {
          // The symbol is registered, so one such answer is not believed.
          if (error instanceof UnknownSymbolError) return await request();
          throw error;
        }
      }, options);
    },
    totals: () => {
      const used = Object.entries(requests).filter(([, { totals }]) => totals.requests > 0);
      return Object.fromEntries(used.map(([market, { totals }]) => [market, totals]));
    },
    close: () => dispatcher.destroy(),
  };
}

/** ccxt takes 0.4 s to load, so it is loaded only here, by require, which is twice as fast as import. */
function createExchange(env: Env, market: Market, requests: Requests): binance {
  const { binance: Binance } = createRequire(import.meta.url)('ccxt') as typeof import('ccxt');
  const exchange = new Binance({
    // Our budget also counts what other programs spend.
    enableRateLimit: false,
    maxRetriesOnFailure: 0,
  });
  const api = exchange.urls.api as Record<string, string>;
  api.public = baseUrl(env, 'spot');
  api.fapiPublic = baseUrl(env, 'usdm');
  exchange.fetchImplementation = async (url: string) => {
    const limit = Number(new URL(url).searchParams.get('limit'));
    const body = await requests.get(url, klinesWeight(market, limit));
    return { status: 200, statusText: '', headers: new Headers(), text: async () => body };
  };
  return exchange;
}
