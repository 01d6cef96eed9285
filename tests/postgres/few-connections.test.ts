import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { freshDatabase } from '../support/database.ts';
import { defaultSymbols } from '../support/fake-binance/symbols.ts';
import { runScript, startScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);

/** A database whose owner may have only so many connections, and an exchange. */
async function setUp(limit: number) {
  const fake = await startExchange({ nowMs: NOW, symbols: defaultSymbols(12) });
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
  const setLimit = async (count: number) => {
    await sql.unsafe(`alter role ${role} connection limit ${count}`);
  };
  return { env: { ...fake.env, DATABASE_URL }, sql, setLimit };
}

test('every verb: works with 3, 5 or 10 connections', async () => {
  const { env, setLimit } = await setUp(3);
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-few-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const symbols = ['BTC/USDT', 'ETH/USDT', 'SOL/USDT', 'BNB/USDT'];
  const range = ['--since', '2024-03-01', '--until', '2024-03-10'];
  const run = async (limit: number, name: string, ...words: string[]) => {
    const { exitCode, stdout, stderr } = await runScript(name, words, env);
    expect(exitCode, `${limit} connections, ${name}: ${stdout} ${stderr}`).toBe(EXIT.done);
  };
  await run(3, 'sync-instruments', '--market', 'usdm');
  for (const [limit, fetched, updated] of [
    [3, '4h', '1h'],
    [5, '6h', '30m'],
    [10, '8h', '15m'],
  ] as const) {
    await setLimit(limit);
    const concurrency = (count: number) => ['--concurrency', String(count)];
    const fetch = [...symbols, '--interval', fetched, ...concurrency(4), ...range];
    await run(limit, 'fetch-history', ...fetch);
    const update = ['--market', 'usdm', '--interval', updated, '--limit', '20'];
    await run(limit, 'update-klines', ...update, ...concurrency(8));
    await run(limit, 'archive', '1', '--as-of', '2024-03-09', '--batch', '10');
    const day = ['--from', '2024-03-02', '--to', '2024-03-03'];
    await run(limit, 'restore', 'BTC/USDT', ...day);
    const verify = ['--deep', '--compare', '2', '--repair', '--to', '2024-03-09'];
    await run(limit, 'verify-integrity', ...verify);
    await run(limit, 'report', '--output', join(folder, 'report.html'));
  }
  await setLimit(3);
  await run(3, 'candles', 'BTC/USDT', '4h', '--from', '2024-03-02');
  for (const name of ['archive-log', 'gaps', 'metrics', 'status']) await run(3, name);
});

test('two updates that share three connections: both succeed', async () => {
  const { env, sql } = await setUp(3);
  await runScript('sync-instruments', ['--market', 'usdm'], env);
  const words = ['--market', 'usdm', '--interval', '1h', '--limit', '20', '--json'];
  const runs = await Promise.all([1, 2].map(() => startScript('update-klines', words, env).result));
  for (const { exitCode, stderr } of runs) expect(exitCode, stderr).toBe(EXIT.done);
  expect(await sql`select 1`).toHaveLength(1);
});
