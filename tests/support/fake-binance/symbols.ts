import type { TimeRange } from '../../../lib/market/ranges.ts';
import type { Market } from '../../../lib/market/symbols.ts';

export interface FakeSymbol {
  market: Market;
  symbol: string;
  base: string;
  quote: string;
  /** Default TRADING. */
  status?: string;
  /** usdm only. Default PERPETUAL. */
  contractType?: string;
  /** Default 2019-01-01. */
  listedMs?: number;
  /** No candle opens at this time or later. */
  endedMs?: number;
  /** No candle opens in these. */
  gaps?: TimeRange[];
  basePrice?: number;
}

const PRICES = { BTC: 64_000, ETH: 3200, BNB: 580, SOL: 150, XRP: 0.5, ADA: 0.4, DOGE: 0.12 };

/** Well-known symbols, unusual ones, and COIN001 … until there are `count` per market. */
export function defaultSymbols(count = 0): FakeSymbol[] {
  const symbols: FakeSymbol[] = [
    { market: 'spot', symbol: '币安人生USDT', base: '币安人生', quote: 'USDT', basePrice: 0.1 },
    { market: 'spot', symbol: 'LUNAUSDT', base: 'LUNA', quote: 'USDT', status: 'BREAK' },
    { market: 'usdm', symbol: '1000SHIBUSDT', base: '1000SHIB', quote: 'USDT', basePrice: 0.02 },
    {
      market: 'usdm',
      symbol: 'BTCUSDT_261225',
      base: 'BTC',
      quote: 'USDT',
      contractType: 'CURRENT_QUARTER',
    },
  ];
  for (const market of ['spot', 'usdm'] as const) {
    for (const [base, basePrice] of Object.entries(PRICES)) {
      symbols.push({ market, symbol: `${base}USDT`, base, quote: 'USDT', basePrice });
    }
    for (let n = symbols.filter((each) => each.market === market).length; n < count; n++) {
      const base = `COIN${String(n).padStart(3, '0')}`;
      symbols.push({ market, symbol: `${base}USDT`, base, quote: 'USDT' });
    }
  }
  return symbols;
}

/** A symbol in the format of exchangeInfo, with the fields that klinekeep reads. */
export function toExchangeInfo(each: FakeSymbol): Record<string, unknown> {
  const common = {
    symbol: each.symbol,
    status: each.status ?? 'TRADING',
    baseAsset: each.base,
    quoteAsset: each.quote,
  };
  if (each.market === 'spot')
    return { ...common, isSpotTradingAllowed: true, permissions: ['SPOT'] };
  return {
    ...common,
    pair: `${each.base}${each.quote}`,
    contractType: each.contractType ?? 'PERPETUAL',
    marginAsset: each.quote,
    onboardDate: each.listedMs ?? Date.UTC(2019, 0, 1),
  };
}
