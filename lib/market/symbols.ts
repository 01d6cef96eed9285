import { createHash } from 'node:crypto';

export type Market = 'spot' | 'usdm';

/** A symbol as it was typed; base and quote are known when it was written unified. */
export interface SymbolName {
  market: Market;
  /** Binance's own: `BTCUSDT`. */
  exchangeSymbol: string;
  /** Unified (ccxt's): `BTC/USDT`, `BTC/USDT:USDT`. */
  symbol?: string;
}

/** With `_archive` a name must stay under the 63 bytes that PostgreSQL keeps of it. */
const MAX_TABLE_NAME_BYTES = 55;

/** Our own tables, whose names a candle table must not have. */
const RESERVED = new Set([
  'klines_archive',
  'all_klines',
  'both_tiers',
  'archive_runs',
  'archive_batches',
]);

/**
 * Reads `BTC/USDT` (spot), `BTC/USDT:USDT` (perpetual) or Binance's `BTCUSDT`, whatever the case.
 * @param market the value of `--market`; undefined: spot
 * @returns the symbol, or a description of what was wanted
 */
export function parseSymbol(
  text: string,
  market: Market | undefined,
): SymbolName | { wanted: string } {
  const name = text.toUpperCase();
  const unified = /^([^\s/:,]+)\/([^\s/:,]+?)(?::([^\s/:,]+))?$/u.exec(name);
  if (unified) {
    const [, base, quote, settle] = unified;
    const written: Market = settle === undefined ? 'spot' : 'usdm';
    if (market && market !== written) {
      return market === 'usdm'
        ? { wanted: `a perpetual of --market usdm, such as ${name}:${quote}` }
        : { wanted: `a symbol of --market spot, such as ${base}/${quote}` };
    }
    return { market: written, exchangeSymbol: `${base}${quote}`, symbol: name };
  }
  if (/^[^\s/:,]{2,}$/u.test(name)) return { market: market ?? 'spot', exchangeSymbol: name };
  return { wanted: 'a symbol such as BTC/USDT (spot), BTC/USDT:USDT (perpetual) or BTCUSDT' };
}

/** `BTC/USDT` on spot, `BTC/USDT:USDT` for a perpetual settled in USDT. */
export function unifiedSymbol(market: Market, base: string, quote: string, settle: string): string {
  return market === 'spot' ? `${base}/${quote}` : `${base}/${quote}:${settle}`;
}

/**
 * The candle table of an instrument: `btc_usdt`, `btc_usdt_perp`, `1000shib_usdt_perp`. A name
 * that is too long or could be taken for one of ours is cut and ends in a hash of the symbol.
 */
export function tableNameFor(market: Market, base: string, quote: string): string {
  const plain = `${base}_${quote}${market === 'usdm' ? '_perp' : ''}`.toLowerCase();
  const clashes =
    RESERVED.has(plain) ||
    plain.endsWith('_archive') ||
    (market === 'spot' && plain.endsWith('_perp'));
  if (!clashes && Buffer.byteLength(plain) <= MAX_TABLE_NAME_BYTES) return plain;

  const hash = createHash('sha256').update(`${market}:${base}/${quote}`).digest('hex').slice(0, 8);
  let kept = '';
  for (const character of plain) {
    if (Buffer.byteLength(`${kept}${character}_${hash}`) > MAX_TABLE_NAME_BYTES) break;
    kept += character;
  }
  return `${kept}_${hash}`;
}
