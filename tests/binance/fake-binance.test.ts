import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addSteps, floorToGrid, INTERVALS } from '../../lib/market/intervals.ts';
import { MadeUpCandles, type RawRow } from '../support/fake-binance/candles.ts';
import type { FakeOptions } from '../support/fake-binance/server.ts';
import { startExchange } from '../support/store.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const HOUR = 3_600_000;

async function start(options: FakeOptions = {}) {
  const fake = await startExchange({ nowMs: NOW, ...options });
  const get = async (path: string) => {
    const answer = await fetch(`${fake.url}${path}`);
    // biome-ignore lint/suspicious/noExplicitAny: whatever Binance may send
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as any };
  };
  return { fake, get };
}

test('made-up candles: are exactly the roll-up of their minutes or seconds', () => {
  const candles = new MadeUpCandles('spot TESTUSDT', 12.34);
  const units = (text: string) => BigInt(text.replace('.', ''));
  fc.assert(
    fc.property(
      fc.constantFrom(...INTERVALS.filter((each) => !['1s', '1w', '1M'].includes(each))),
      fc.integer({ min: Date.UTC(2019, 0, 1), max: Date.UTC(2024, 0, 1) }),
      (interval, timeMs) => {
        const openMs = floorToGrid(interval, timeMs);
        const endMs = addSteps(interval, openMs, 1);
        const whole = candles.candle(interval, openMs, NOW);
        const part = interval === '1m' ? '1s' : '1m';
        const parts: RawRow[] = [];
        for (let at = openMs; at < endMs; at = addSteps(part, at, 1))
          parts.push(candles.candle(part, at, NOW));
        const total = (column: 5 | 7 | 9 | 10) =>
          parts.reduce((sum, row) => sum + units(row[column]), 0n);
        const inOrder = (column: 2 | 3) =>
          parts.map((row) => units(row[column])).sort((a, b) => Number(a - b));
        expect(whole[1]).toBe(parts[0]![1]);
        expect(whole[4]).toBe(parts.at(-1)![4]);
        expect(units(whole[2])).toBe(inOrder(2).at(-1));
        expect(units(whole[3])).toBe(inOrder(3)[0]);
        for (const column of [5, 7, 9, 10] as const)
          expect(units(whole[column])).toBe(total(column));
        expect(whole[8]).toBe(parts.reduce((sum, row) => sum + row[8], 0));
        expect(units(whole[3]) > 0n && units(whole[9]) <= units(whole[5])).toBe(true);
      },
    ),
    { numRuns: 40 },
  );
});

test('klines: has inclusive ends, and returns the latest without a start', async () => {
  const { get } = await start();
  const from = NOW - (NOW % HOUR) - 10 * HOUR;
  const exact = await get(
    `/api/v3/klines?symbol=BTCUSDT&interval=1h&startTime=${from}&endTime=${from + 3 * HOUR}`,
  );
  expect(exact.body.map((row: unknown[]) => row[0])).toEqual(
    [0, 1, 2, 3].map((n) => from + n * HOUR),
  );
  const latest = await get('/api/v3/klines?symbol=BTCUSDT&interval=1h&limit=3');
  expect(latest.body.at(-1)[6]).toBeGreaterThan(NOW);
  expect(latest.body).toHaveLength(3);
});

test('klines: has a page limit for each market, and refuses bad requests', async () => {
  const { get } = await start();
  const rows = async (path: string) => (await get(path)).body.length;
  expect(await rows('/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=0&limit=5000')).toBe(1000);
  expect(await rows('/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=0&limit=5000')).toBe(
    1500,
  );
  expect((await get('/api/v3/klines?symbol=NOPE&interval=1m')).body.code).toBe(-1121);
  expect((await get('/api/v3/klines?symbol=BTCUSDT&interval=7m')).body.code).toBe(-1120);
  expect(
    (await get(`/api/v3/klines?symbol=${encodeURIComponent('币安人生USDT')}&interval=1m`)).status,
  ).toBe(200);
});

test('weight: is limited with 429, then with a ban', async () => {
  const { fake, get } = await start();
  await get('/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=99');
  await get('/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=499');
  const third = await get('/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1500');
  expect(third.headers.get('x-mbx-used-weight-1m')).toBe('13');
  fake.weights.usdm.limit = 13;
  const over = await get('/fapi/v1/time');
  expect(over.status).toBe(429);
  expect(Number(over.headers.get('retry-after'))).toBeGreaterThan(0);
  const statuses = [];
  for (let n = 0; n < 12; n++) statuses.push((await get('/fapi/v1/time')).status);
  expect(statuses).toContain(418);
});
