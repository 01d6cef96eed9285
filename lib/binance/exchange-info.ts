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

/** What is read of it. */
interface ExchangeInfoSymbol {
  symbol: string;
  status: string;
  baseAsset: string;
  quoteAsset: string;
  marginAsset?: string;
  contractType?: string;
}

/** An exchange without a single symbol is a broken answer: it would delist everything. */
export function isExchangeInfo(body: unknown): body is { symbols: ExchangeInfoSymbol[] } {
  const symbols = (body as { symbols?: unknown } | null | undefined)?.symbols;
  return Array.isArray(symbols) && symbols.length > 0 && symbols.every(isSymbol);
}

/** One that cannot be read must not be left out: it would be taken for delisted. */
function isSymbol(symbol: Partial<Record<keyof ExchangeInfoSymbol, unknown>> | null): boolean {
  const isText = (value: unknown) => typeof value === 'string';
  const isTextOrNone = (value: unknown) => value === undefined || isText(value);
  return (
    [symbol?.symbol, symbol?.status, symbol?.baseAsset, symbol?.quoteAsset].every(isText) &&
    [symbol?.marginAsset, symbol?.contractType].every(isTextOrNone)
  );
}

/** @returns nothing for a contract that ends */
export function readListed(market: Market, symbol: ExchangeInfoSymbol): ListedSymbol[] {
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
