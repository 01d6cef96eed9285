import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { startStore } from '../support/store.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);

test('1s: spot candles are fetched, updated, verified and rolled up', async () => {
  const { fake, sql, run } = await startStore({ nowMs: NOW });
  const sinceMs = NOW - 20 * 60_000;
  const since = new Date(sinceMs).toISOString();
  await run('fetch-history', 'BTC/USDT', '--interval', '1s', '--since', since, '--source', 'rest');
  fake.nowMs = NOW + 60_000;
  expect((await run('update-klines')).stdout).toContain('+60 candles');
  const wanted = await fake.candles('spot', 'BTCUSDT', '1s', sinceMs, fake.nowMs);
  const { rows } = await storedRows(sql, 'spot', 'BTC/USDT', '1s');
  expectSameRows(rows, expectedRows(wanted, fake.nowMs));
  expect((await run('verify-integrity')).exitCode).toBe(EXIT.done);
  const minutes = await run('candles', 'BTC/USDT', '1m', '--from', since, '--json');
  const { candles } = JSON.parse(minutes.stdout);
  const [minute] = await fake.candles('spot', 'BTCUSDT', '1m', NOW - 10.5 * 60_000, NOW, 1);
  expect(JSON.stringify(candles)).toContain(String(Number(minute![5])));
});

test('1s: a perpetual has none, and the run says so', async () => {
  const { run } = await startStore({ nowMs: NOW });
  const words = ['BTC/USDT:USDT', '--interval', '1s', '--since', '2024-03-10', '--source', 'rest'];
  const result = await run('fetch-history', ...words);
  expect(result.exitCode).toBe(EXIT.data);
  expect(result.stderr).toContain('Binance has no 1s candles at 127.0.0.1');
  expect(result.stderr).toContain('Only spot has 1s.');
});
