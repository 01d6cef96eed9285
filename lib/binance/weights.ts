import type { Market } from '../market/mod.ts';

/**
 * Request weight that one IP address may spend in a clock minute.
 * https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
 * https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
 */
export const WEIGHT_PER_MINUTE: Record<Market, number> = { spot: 6000, usdm: 2400 };

/**
 * Candles per page. Spot costs 2 weight whatever the size; usdm costs 1 below 100, 2 below 500,
 * 5 to 1000, 10 beyond: 499 is the cheapest per candle, and a top-up of less than 100 costs 1.
 * https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Kline-Candlestick-Data
 */
export const PAGE_SIZE: Record<Market, number> = { spot: 1000, usdm: 499 };

/** The weight of a page of `limit` candles. */
export function klinesWeight(market: Market, limit: number): number {
  if (market === 'spot') return 2;
  if (limit < 100) return 1;
  if (limit < 500) return 2;
  return limit <= 1000 ? 5 : 10;
}

/** The weight of the clock and the symbol lists. */
export const TIME_WEIGHT = 1;
export const EXCHANGE_INFO_WEIGHT: Record<Market, number> = { spot: 20, usdm: 1 };
