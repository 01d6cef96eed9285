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
interface ExchangeInfoSymbol {
  symbol: string;
  status: string;
  baseAsset: string;
  quoteAsset: string;
  marginAsset?: string;
  contractType?: string;
}

/** An answer without symbols counts as broken: it would delist everything. */
export function isExchangeInfo(body: unknown): body is { symbols: ExchangeInfoSymbol[] } {
  const symbols = (body as { symbols?: unknown } | null | undefined)?.symbols;
  return Array.isArray(symbols) && symbols.length > 0 && symbols.every(isSymbol);
}

/** A symbol that cannot be read must not be skipped: it would count as delisted. */
function isSymbol(symbol: Partial<Record<keyof ExchangeInfoSymbol, unknown>> | null): boolean {
  const isText = (value: unknown) => typeof value === 'string';
  const isTextOrNone = (value: unknown) => value === undefined || isText(value);
  return (
    [symbol?.symbol, symbol?.status, symbol?.baseAsset, symbol?.quoteAsset].every(isText) &&
    [symbol?.marginAsset, symbol?.contractType].every(isTextOrNone)
  );
}

/** @returns no symbol for a contract with an end date */
export function readListed(market: Market, symbol: ExchangeInfoSymbol): ListedSymbol[] {
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
