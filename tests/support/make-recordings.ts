/**
 * Makes the files in tests/support/recordings: made-up candles in the formats of Binance's files and
 * REST answers. Run it after a change: `npx tsx tests/support/make-recordings.ts`.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { addMonths, DAY_MS, toUtc } from '../../lib/base/time.ts';
import { MadeUpCandles, type RawRow } from './fake-binance/candles.ts';
import { type FakeSymbol, toExchangeInfo } from './fake-binance/symbols.ts';
import { makeZip } from './fake-binance/zip.ts';

const ROOT = join(import.meta.dirname, 'recordings');
const HEADER =
  'open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore';
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** After all candles below. */
const NOW_MS = Date.UTC(2026, 0, 1);

function write(path: string, content: string | Buffer): void {
  const file = join(ROOT, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}

/** @param folder such as `spot/daily/klines/BTCUSDT/1m` @param date of the day or the month */
function writeFile(folder: string, date: string, lines: readonly string[]): void {
  const [symbol, interval] = folder.split('/').slice(-2);
  const name = `${symbol}-${interval}-${date}`;
  const zip = makeZip([{ name: `${name}.csv`, content: Buffer.from(`${lines.join('\n')}\n`) }]);
  const hash = createHash('sha256').update(zip).digest('hex');
  write(`${folder}/${name}.zip`, zip);
  write(`${folder}/${name}.zip.CHECKSUM`, `${hash}  ${name}.zip\n`);
}

/** The shape of Binance's outage of 2023-03-24: flat minutes, one that closes early, then no candles. */
function withOutage(minutes: readonly RawRow[]): RawRow[] {
  const at = (time: string) => Date.parse(`2023-03-24T${time}Z`);
  const price = minutes.find((row) => row[0] === at('11:27'))?.[4] ?? '0';
  const none = '0.00000000';
  return minutes.flatMap((row) => {
    const [openMs] = row;
    if (openMs < at('11:28') || openMs >= at('14:00')) return [row];
    if (openMs >= at('12:40')) return [];
    const closeMs = openMs === at('12:39') ? at('12:39:41.646') : row[6];
    return [[openMs, price, price, price, price, none, closeMs, none, 0, none, none, '0']];
  });
}

/** Decimals of eight places, added exactly. */
function sum(values: readonly string[]): string {
  const units = values.reduce((all, value) => all + BigInt(value.replace('.', '')), 0n);
  return String(units)
    .padStart(9, '0')
    .replace(/(\d{8})$/, '.$1');
}

function rollUp(minutes: readonly RawRow[]): RawRow[] {
  const hourOf = (row: RawRow) => Math.floor(row[0] / HOUR_MS) * HOUR_MS;
  return [...new Set(minutes.map(hourOf))].map((openMs) => {
    const rows = minutes.filter((row) => hourOf(row) === openMs);
    const [first, last] = [rows.at(0)!, rows.at(-1)!];
    const byPrice = (column: 2 | 3) =>
      rows.map((row) => row[column]).sort((a, b) => Number(a) - Number(b));
    const total = (column: 5 | 7 | 9 | 10) => sum(rows.map((row) => row[column]));
    const trades = rows.reduce((all, row) => all + row[8], 0);
    const prices = [first[1], byPrice(2).at(-1)!, byPrice(3).at(0)!, last[4]] as const;
    return [openMs, ...prices, total(5), last[6], total(7), trades, total(9), total(10), '0'];
  });
}

function makeRows(candles: MadeUpCandles, interval: '1m' | '1h', fromMs: number, toMs: number) {
  const stepMs = interval === '1m' ? MINUTE_MS : HOUR_MS;
  return Array.from({ length: (toMs - fromMs) / stepMs }, (_, index) =>
    candles.candle(interval, fromMs + index * stepMs, NOW_MS),
  );
}

for (const [symbol, price] of [['BTCUSDT', 28_000] as const, ['ETHUSDT', 1800] as const]) {
  for (const date of ['2023-03-23', '2023-03-24', '2023-03-25']) {
    const fromMs = Date.parse(date);
    const candles = new MadeUpCandles(`recorded ${symbol}`, price);
    const minutes = withOutage(makeRows(candles, '1m', fromMs, fromMs + DAY_MS));
    for (const [interval, rows] of [['1m', minutes] as const, ['1h', rollUp(minutes)] as const])
      writeFile(`spot/daily/klines/${symbol}/${interval}`, date, rows.map(String));
  }
}

for (const date of ['2024-12', '2025-01']) {
  const fromMs = Date.parse(date);
  const toMs = addMonths(toUtc(fromMs), 1).getTime();
  const spot = makeRows(new MadeUpCandles('recorded BTCUSDT'), '1h', fromMs, toMs);
  // Spot files have microseconds since 2025.
  const inMicros = (row: RawRow) => row.with(0, `${row[0]}000`).with(6, `${row[6]}999`);
  const lines = spot.map((row) => String(date < '2025' ? row : inMicros(row)));
  writeFile('spot/monthly/klines/BTCUSDT/1h', date, lines);

  // Files of usdm have a header, and decimals without trailing zeros.
  const usdm = makeRows(new MadeUpCandles('recorded 1000PEPEUSDT', 0.02), '1h', fromMs, toMs);
  const trimmed = usdm.map((row) =>
    String(row)
      .replaceAll(/(\.\d*?)0+(?=,)/g, '$1')
      .replaceAll('.,', ','),
  );
  writeFile('futures/um/monthly/klines/1000PEPEUSDT/1h', date, [HEADER, ...trimmed]);
}

const listed = (market: FakeSymbol['market'], ...pairs: string[]): FakeSymbol[] =>
  pairs.map((pair) => {
    const [base = '', quote = ''] = pair.split('/');
    return { market, symbol: `${base}${quote}`, base, quote };
  });
const stopped = (...pairs: string[]) =>
  listed('spot', ...pairs).map((each) => ({ ...each, status: 'BREAK' }));
const pairs = ['BTC/USDT', 'ETH/USDT', 'ETH/BTC', '1INCH/USDT', 'VERYLONGCOINNAME/USDT'];
const answers = {
  'spot-20221103': [...listed('spot', ...pairs, 'OLD/USDT', 'OLD/BTC'), ...stopped('LUNA/USDT')],
  'spot-20230908': [
    ...listed('spot', ...pairs, 'NEW/USDT', '币安人生/USDT'),
    ...stopped('LUNA/USDT', 'OLD/USDT', 'OLD/BTC'),
  ],
  'usdm-20210906': [
    ...listed('usdm', 'BTC/USDT', '1000SHIB/USDT', 'ETH/BUSD'),
    {
      ...({ market: 'usdm', symbol: 'BTCUSDT_210924', base: 'BTC', quote: 'USDT' } as const),
      contractType: 'CURRENT_QUARTER',
    },
  ],
};
for (const [name, symbols] of Object.entries(answers)) {
  const answer = { timezone: 'UTC', symbols: symbols.map(toExchangeInfo) };
  write(`exchange-info/${name}.json`, `${JSON.stringify(answer, null, 2)}\n`);
}
