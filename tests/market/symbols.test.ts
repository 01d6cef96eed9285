import { expect, test } from 'vitest';
import { parseSymbol, tableNameFor, unifiedSymbol } from '../../lib/market/symbols.ts';

test.each([
  ['btc/usdt', undefined, { market: 'spot', exchangeSymbol: 'BTCUSDT', symbol: 'BTC/USDT' }],
  [
    'BTC/USDT:USDT',
    undefined,
    { market: 'usdm', exchangeSymbol: 'BTCUSDT', symbol: 'BTC/USDT:USDT' },
  ],
  ['BTCUSDT', undefined, { market: 'spot', exchangeSymbol: 'BTCUSDT' }],
  ['1000shibusdt', 'usdm', { market: 'usdm', exchangeSymbol: '1000SHIBUSDT' }],
  [
    '币安人生/USDT',
    undefined,
    { market: 'spot', exchangeSymbol: '币安人生USDT', symbol: '币安人生/USDT' },
  ],
] as const)('%s with --market %s is understood', (text, market, expected) => {
  expect(parseSymbol(text, market)).toEqual(expected);
});

test.each(['', 'B', 'BTC/', '/USDT', 'BTC/USDT/X', 'BTC USDT', 'BTC/USDT:'])(
  'parseSymbol(): refuses %j',
  (text) => {
    expect(parseSymbol(text, undefined)).toEqual({
      wanted: expect.stringMatching(/^a symbol such as/),
    });
  },
);

test('parseSymbol(): suggests the right symbol when --market contradicts', () => {
  expect(parseSymbol('BTC/USDT', 'usdm')).toEqual({
    wanted: expect.stringContaining('BTC/USDT:USDT'),
  });
  expect(parseSymbol('BTC/USDT:USDT', 'spot')).toEqual({
    wanted: expect.stringContaining('BTC/USDT'),
  });
});

test.each([
  ['spot', 'BTC', 'USDT', 'btc_usdt'],
  ['usdm', 'BTC', 'USDT', 'btc_usdt_perp'],
  ['usdm', '1000SHIB', 'USDT', '1000shib_usdt_perp'],
  ['spot', '币安人生', 'USDT', '币安人生_usdt'],
] as const)('%s %s/%s lives in table %s', (market, base, quote, expected) => {
  expect(tableNameFor(market, base, quote)).toBe(expected);
});

test('tableNameFor(): shortens long and ambiguous names with a hash', () => {
  const names = [
    tableNameFor('spot', 'A'.repeat(80), 'USDT'),
    tableNameFor('spot', '币'.repeat(40), 'USDT'),
    tableNameFor('spot', 'KLINES', 'ARCHIVE'),
    tableNameFor('spot', 'ALL', 'KLINES'),
    tableNameFor('spot', 'BTC_USDT', 'PERP'),
  ];
  for (const name of names) {
    expect(name).toMatch(/_[0-9a-f]{8}$/);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(55);
  }
  expect(new Set(names).size).toBe(names.length);
});

test('unifiedSymbol(): ends a perpetual with its settlement asset', () => {
  expect(unifiedSymbol('usdm', 'BTC', 'USDT', 'USDT')).toBe('BTC/USDT:USDT');
  expect(unifiedSymbol('spot', 'BTC', 'USDT', 'USDT')).toBe('BTC/USDT');
});
