import type { output } from 'zod';
import { z } from '../base/mod.ts';
import { type Market, unifiedSymbol } from '../market/mod.ts';

/** A symbol as exchangeInfo lists it. */
export interface ListedSymbol {
  market: Market;
  symbol: string;
  exchangeSymbol: string;
  base: string;
  quote: string;
  isTrading: boolean;
}

/** The fields that are read. */
const symbolInfo = z.object({
  symbol: z.string(),
  status: z.string(),
  baseAsset: z.string(),
  quoteAsset: z.string(),
  marginAsset: z.string().optional(),
  contractType: z.string().optional(),
});

/**
 * A symbol that cannot be read must not be skipped, because it would count as delisted. An answer
 * without symbols counts as broken, because it would delist everything.
 */
export const exchangeInfo = z.object({ symbols: z.array(symbolInfo).min(1) });

/** @returns no symbol for a contract with an end date */
export function readListed(market: Market, symbol: output<typeof symbolInfo>): ListedSymbol[] {
  // TRADIFI_PERPETUAL (stocks, metals) has no end date either.
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
