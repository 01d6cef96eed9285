import { createRequire } from 'node:module';
import type { binance } from 'ccxt';
import type { Env } from '../env.ts';
import type { Interval, TimeRange } from '../intervals.ts';
import { retry, wait } from '../retry.ts';
import type { Market } from '../symbols.ts';
import { unifiedSymbol } from '../symbols.ts';
import { formatTime } from '../time.ts';
import { checkAnswer, RateLimitedError, TransientError } from './answer.ts';
import { createDispatcher, httpGet } from './http.ts';

/** A kline as Binance sends it: 12 fields, decimals as strings. Not checked yet. */
export type RawKline = readonly unknown[];

/** A symbol as exchangeInfo lists it. */
export interface ListedSymbol {
  market: Market;
  symbol: string;
  exchangeSymbol: string;
  base: string;
  quote: string;
  isTrading: boolean;
}

export interface RestSource {
  /** The exchange's own clock, Unix ms. Asked once a market, then carried on from there. */
  serverTimeMs(market: Market): Promise<number>;
  /** Everything listed on the market (usdm: perpetuals only), or the one symbol that is named. */
  symbols(market: Market, exchangeSymbol?: string): Promise<ListedSymbol[]>;
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

  const exchangeFor = (market: Market): binance => {
    let exchange = exchanges.get(market);
    if (!exchange) {
      const pausedUntil = { ms: 0 };
      exchange = createExchange(env, async (url: string) => {
        while (true) {
          if (pausedUntil.ms > Date.now()) await wait(pausedUntil.ms - Date.now(), signal);
          try {
            const answer = await httpGet(url, dispatcher, signal);
            checkAnswer(answer, url, Date.now());
            const { status, headers, body } = answer;
            return {
              status,
              statusText: '',
              headers: new Headers(headers),
              text: async () => body,
            };
          } catch (error) {
            if (!(error instanceof RateLimitedError)) throw error;
            if (error.untilMs > pausedUntil.ms) {
              pausedUntil.ms = error.untilMs;
              onWait(`Binance asks to wait (429): going on at ${formatTime(error.untilMs)}`);
            }
          }
        }
      });
      exchanges.set(market, exchange);
    }
    return exchange;
  };

  const ask = async <T>(market: Market, call: (exchange: binance) => Promise<T>): Promise<T> =>
    await retry(
      async () => {
        signal.throwIfAborted();
        return await call(exchangeFor(market));
      },
      {
        signal,
        isTransient: (error) => error instanceof TransientError,
        onRetry: (error, delayMs) =>
          onWait(`${(error as Error).message} Trying again in ${(delayMs / 1000).toFixed(1)} s`),
      },
    );

  const startClock = async (market: Market): Promise<number> => {
    const answer = await ask(market, (exchange) =>
      market === 'spot' ? exchange.publicGetTime() : exchange.fapiPublicGetTime(),
    );
    return Number(answer.serverTime) - performance.now();
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
      const answer = await ask(market, (exchange) =>
        market === 'spot'
          ? exchange.publicGetExchangeInfo(exchangeSymbol ? { symbol: exchangeSymbol } : {})
          : exchange.fapiPublicGetExchangeInfo(),
      );
      const listed = (answer.symbols as ExchangeInfoSymbol[]).flatMap((symbol) =>
        readListed(market, symbol),
      );
      return exchangeSymbol
        ? listed.filter((symbol) => symbol.exchangeSymbol === exchangeSymbol)
        : listed;
    },
    async klines(market, exchangeSymbol, interval, range, limit) {
      const query = {
        symbol: exchangeSymbol,
        interval,
        startTime: range.fromMs,
        endTime: range.toMs - 1,
        limit,
      };
      const answer = await ask(market, async (exchange) => {
        const rows = await (market === 'spot'
          ? exchange.publicGetKlines(query)
          : exchange.fapiPublicGetKlines(query));
        if (!Array.isArray(rows))
          throw new TransientError(`Binance sent no list of candles for ${exchangeSymbol}.`);
        return rows;
      });
      return answer;
    },
    async close() {
      await dispatcher.destroy();
    },
  };
}

interface ExchangeInfoSymbol {
  symbol: string;
  status: string;
  baseAsset: string;
  quoteAsset: string;
  marginAsset?: string;
  contractType?: string;
}

function readListed(market: Market, symbol: ExchangeInfoSymbol): ListedSymbol[] {
  // Quarterly contracts end; TRADIFI_PERPETUAL (stocks, metals) does not.
  if (market === 'usdm' && !symbol.contractType?.endsWith('PERPETUAL')) return [];
  const { baseAsset: base, quoteAsset: quote, marginAsset = quote } = symbol;
  return [
    {
      market,
      symbol: unifiedSymbol(market, base, quote, marginAsset),
      exchangeSymbol: symbol.symbol,
      base,
      quote,
      isTrading: symbol.status === 'TRADING',
    },
  ];
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
  api.public = `${env.spotUrl}/api/v3`;
  api.fapiPublic = `${env.usdmUrl}/fapi/v1`;
  exchange.fetchImplementation = fetchImplementation;
  return exchange;
}
