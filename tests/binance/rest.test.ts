import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { TransientError } from '../../lib/binance/answer.ts';
import { createDispatcher, httpGet } from '../../lib/binance/http.ts';
import { freshDatabase } from '../support/database.ts';
import type { Fault } from '../support/fake-binance/faults.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);

async function fetchDespite(...faults: Fault[]) {
  const fake = await startExchange({ nowMs: NOW });
  for (const fault of faults) fake.fail(fault);
  const { url, sql } = await freshDatabase();
  const words = ['BTC/USDT', '--interval', '1h', '--since', '2024-03-01'];
  const result = await runScript('fetch-history', words, { DATABASE_URL: url, ...fake.env });
  const [stored] = await sql`select count(*)::int as candles from klines`;
  return { ...result, candles: stored!.candles, fake };
}

const ALL = 9 * 24 + 12;
const COMPLETE = { exitCode: EXIT.done, candles: ALL };

test.each([
  ['503', { kind: 503 }],
  ['HTML with status 200', { kind: 'html' }],
  ['a reset connection', { kind: 'reset' }],
  ['a body that is cut off', { kind: 'cut' }],
  ['data that is no list', { kind: 'garbage', mutate: () => ({ rows: [] }) as never }],
] as const)('after %s it asks again, and everything arrives', async (_, fault) => {
  const result = await fetchDespite({ ...fault, times: 2 } as Fault);
  expect(result).toMatchObject({ exitCode: EXIT.done, candles: ALL });
  expect(result.stderr).toContain('Trying again in');
});

test.each(['klines', 'exchangeInfo', 'time'])(
  'rest: requests %s again after each temporary error, with any status',
  async (path) => {
    const codes = [-1000, -1001, -1007, -1008].map(
      (code, at): Fault => ({ kind: 'error', status: at % 2 === 0 ? 200 : 400, code, path }),
    );
    const [timeout, ...others] = [{ kind: 'error', status: 408, code: 0, path } as const, ...codes];
    // One request is tried five times.
    expect(await fetchDespite(timeout, ...others.slice(0, 2))).toMatchObject(COMPLETE);
    expect(await fetchDespite(...others.slice(2))).toMatchObject(COMPLETE);
  },
);

test('-1003: the run waits as after a 429, then continues', async () => {
  const result = await fetchDespite({
    kind: 'body',
    body: '{"code":-1003,"msg":"Too many requests."}',
    headers: { 'retry-after': '1' },
  });
  expect(result).toMatchObject(COMPLETE);
  expect(result.stderr).toContain('Binance asks to wait (429): continuing at');
});

test('418 without Retry-After: no request is sent before the time in its text', async () => {
  const fake = await startExchange();
  const { url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  const run = () =>
    runScript('fetch-history', ['BTC/USDT', '--interval', '1h', '--since', '2d'], env);
  const untilMs = Date.now() + 4_000;
  const msg = `Way too much request weight used; IP banned until ${untilMs}. Please use websockets.`;
  fake.fail({ kind: 'error', status: 418, code: -1003, msg });
  expect((await run()).exitCode).toBe(EXIT.later);
  const sent = fake.requests.length;
  while (Date.now() < untilMs - 500) {
    expect((await run()).exitCode).toBe(EXIT.later);
    expect(fake.requests).toHaveLength(sent);
  }
  await sleep(untilMs + 100 - Date.now());
  expect((await run()).exitCode).toBe(EXIT.done);
});

test('rest: gives up an answer that never starts, or never ends', async () => {
  const fake = await startExchange({ nowMs: NOW });
  fake.fail({ kind: 'hang', path: 'time' });
  const dispatcher = createDispatcher(undefined);
  const asked = httpGet(`${fake.url}/api/v3/time`, dispatcher, new AbortController().signal, 200);
  await expect(asked).rejects.toThrow(/no answer within 0.2 s/);
  await expect(asked).rejects.toBeInstanceOf(TransientError);
  await dispatcher.destroy();
});

test('429: the run waits for Retry-After, then continues', async () => {
  const startedMs = Date.now();
  const result = await fetchDespite({ kind: 429, retryAfterS: 2 });
  expect(result).toMatchObject({ exitCode: EXIT.done, candles: ALL });
  expect(result.stderr).toContain('Binance asks to wait (429): continuing at');
  expect(Date.now() - startedMs).toBeGreaterThan(2000);
});

test('418: the run ends at once with 75, and says until when', async () => {
  const result = await fetchDespite({ kind: 418, retryAfterS: 600, times: 99 });
  expect(result).toMatchObject({ exitCode: EXIT.later, candles: 0 });
  expect(result.stderr).toMatch(/banned this IP address until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ/);
  expect(result.fake.klinesRequests()).toHaveLength(1);
});

test.each([451, 403] as const)(
  '%d: the run ends at once with 69, and says what to do',
  async (kind) => {
    const result = await fetchDespite({ kind, times: 99, path: 'exchangeInfo' });
    expect(result).toMatchObject({ exitCode: EXIT.unavailable, candles: 0 });
    expect(result.stderr).toContain('https://data-api.binance.vision');
    expect(result.fake.requests).toHaveLength(1);
  },
);

test('rest: ends with 69 and the address when it cannot connect', async () => {
  const { url } = await freshDatabase();
  const result = await runScript('fetch-history', ['BTC/USDT', '--since', '1d', '--json'], {
    DATABASE_URL: url,
  });
  expect(result.exitCode).toBe(EXIT.unavailable);
  expect(result.stderr).toContain('Cannot reach Binance at 127.0.0.1:1');
  expect(result.stderr).toContain('. Trying again in');
  expect(JSON.parse(result.stdout)).toMatchObject({
    exitCode: EXIT.unavailable,
    hint: expect.any(String),
  });
});

test('429: the run ends with 75 when it would wait for days', async () => {
  const result = await fetchDespite({ kind: 429, retryAfterS: 3_000_000, times: 99 });
  expect(result).toMatchObject({ exitCode: EXIT.later, candles: 0 });
  expect(result.fake.klinesRequests()).toHaveLength(1);
});

test.each(['time', 'exchangeInfo'])(
  'rest: requests a broken answer to %s again, then ends with 69',
  async (path) => {
    expect(await fetchDespite({ kind: 'empty', path, times: 2 })).toMatchObject({
      exitCode: EXIT.done,
      candles: ALL,
    });
  },
);

test('rest: does not take a damaged first candle for the listing', async () => {
  const broken = (time: unknown): Fault => ({
    kind: 'garbage',
    mutate: (rows) => rows.map((row) => [time, ...row.slice(1)]),
  });
  const result = await fetchDespite(broken(NOW), broken('abc'), broken(NOW * 1000 * 1000));
  expect(result).toMatchObject({ exitCode: EXIT.done, candles: ALL });
});

test.each([
  ['time', 'null'],
  ['time', '[serverTime]'],
  ['exchangeInfo', 'null'],
  ['exchangeInfo', '{"symbols":[null]}'],
  ['exchangeInfo', '{"symbols":[{"symbol":"BTCUSDT","status":"TRADING"}]}'],
  ['klines', '[null]'],
  ['klines', '[{"0":1}]'],
  ['klines', '[abc]'],
])('rest: requests %s again when it is answered with %s', async (path, body) => {
  const result = await fetchDespite({ kind: 'body', path, body });
  expect(result).toMatchObject({ exitCode: EXIT.done, candles: ALL });
  expect(result.stderr).toContain('Trying again in');
});
