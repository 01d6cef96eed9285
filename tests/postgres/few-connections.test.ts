import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { freshDatabase } from '../support/database.ts';
import { startFakeBinance } from '../support/fake-binance/server.ts';
import { defaultSymbols } from '../support/fake-binance/symbols.ts';
import { runScript, startScript } from '../support/script.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);

/** A database whose owner may have only so many connections, and an exchange. */
async function setUp(limit: number) {
  const fake = await startFakeBinance({ nowMs: NOW, symbols: defaultSymbols(12) });
  onTestFinished(() => fake.close());
  const { url, sql } = await freshDatabase();
  const role = `limited_${Math.random().toString(36).slice(2)}`;
  await sql.unsafe(`
    create role ${role} login password 'limited' connection limit ${limit};
    create schema authorization ${role}`);
  onTestFinished(async () => {
    await sql.unsafe(`drop owned by ${role} cascade; drop role ${role}`);
  });
  const address = new URL(url);
  [address.username, address.password] = [role, 'limited'];
  const DATABASE_URL = `${address.href}?options=-csearch_path%3D${role}`;
  return { env: { ...fake.env, DATABASE_URL }, sql };
}

test.each([3, 5, 10])('every verb works with %i connections', async (limit) => {
  const { env } = await setUp(limit);
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-few-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const symbols = ['BTC/USDT', 'ETH/USDT', 'SOL/USDT', 'BNB/USDT'];
  const range = ['--since', '2024-03-01', '--until', '2024-03-10'];
  for (const [name, ...words] of [
    ['sync-instruments', '--market', 'usdm'],
    ['fetch-history', ...symbols, '--interval', '4h', '--concurrency', '4', ...range],
    [
      'update-klines',
      '--market',
      'usdm',
      '--interval',
      '1h',
      '--limit',
      '20',
      '--concurrency',
      '8',
    ],
    ['archive', '1', '--as-of', '2024-03-09', '--batch', '10'],
    ['restore', 'BTC/USDT', '--from', '2024-03-02', '--to', '2024-03-03'],
    ['verify-integrity', '--deep', '--compare', '2', '--repair', '--to', '2024-03-09'],
    ['candles', 'BTC/USDT', '4h', '--from', '2024-03-02'],
    ['archive-log'],
    ['report', '--output', join(folder, 'report.html')],
    ['metrics'],
    ['status'],
  ] as const) {
    const result = await runScript(name, words, env);
    expect(result, `${name}: ${result.stdout} ${result.stderr}`).toMatchObject({
      exitCode: EXIT.done,
    });
  }
});

test('two updates with three connections between them both end well', async () => {
  const { env, sql } = await setUp(3);
  await runScript('sync-instruments', ['--market', 'usdm'], env);
  const words = ['--market', 'usdm', '--interval', '1h', '--limit', '20', '--json'];
  const runs = await Promise.all([1, 2].map(() => startScript('update-klines', words, env).result));
  for (const { exitCode, stderr } of runs) expect(exitCode, stderr).toBe(EXIT.done);
  expect(await sql`select 1`).toHaveLength(1);
});
