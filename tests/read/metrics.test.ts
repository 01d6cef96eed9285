import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { makeFolder, startStore } from '../support/store.ts';

const HOUR_MS = 3_600_000;

async function setUp() {
  const nowMs = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
  const { sql, run } = await startStore({ nowMs });
  await run('fetch-history', 'BTC/USDT', '--interval', '1h', '--since', '30d');
  await run('candles', 'NIX/USDT', '1h');
  const metrics = async () => {
    const { stdout } = await run('metrics');
    return new Map(
      stdout
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line) => {
          const at = line.lastIndexOf(' ');
          return [line.slice(0, at), Number(line.slice(at + 1))];
        }),
    );
  };
  return { sql, run, metrics, nowMs };
}

test('metrics: prints freshness, rows, runs and failures for Prometheus', async () => {
  const { sql, run, metrics, nowMs } = await setUp();
  const found = await metrics();
  const labels = 'market="spot",symbol="BTC/USDT",interval="1h"';
  const [stored] = await sql`select count(*)::int as count from klines`;
  expect(found.get(`klinekeep_candles{${labels},tier="hot"}`)).toBe(stored?.count);
  expect(found.get(`klinekeep_candles{${labels},tier="archive"}`)).toBe(0);
  expect(found.get(`klinekeep_behind_seconds{${labels}}`)).toBe(0);
  expect(found.get(`klinekeep_last_candle_end_timestamp_seconds{${labels}}`)).toBe(nowMs / 1000);
  expect(
    found.get('klinekeep_table_bytes{market="spot",symbol="BTC/USDT",tier="hot"}'),
  ).toBeGreaterThan(8192);
  expect(found.get('klinekeep_run_exit_code{verb="candles"}')).toBe(EXIT.data);
  expect(found.get('klinekeep_runs_of_a_day{verb="candles",outcome="data"}')).toBe(1);
  expect(found.get('klinekeep_runs_of_a_day{verb="fetch",outcome="done"}')).toBe(1);
  expect(found.has('klinekeep_run_success_timestamp_seconds{verb="candles"}')).toBe(false);
  expect(found.get('klinekeep_rejected_klines')).toBe(0);

  const { stdout } = await run('metrics');
  for (const line of stdout.trimEnd().split('\n')) {
    expect(line).toMatch(
      /^(# (HELP|TYPE) klinekeep_\w+ .+|klinekeep_\w+(\{(\w+="[^"]*",?)+\})? -?\d+(\.\d+)?)$/,
    );
  }
  await sql`delete from klines where open_time > now() - interval '10 hours'`;
  await sql`update instruments set symbol = 'a"b\\c'`;
  const escaped = 'market="spot",symbol="a\\"b\\\\c",interval="1h"';
  expect((await metrics()).get(`klinekeep_behind_seconds{${escaped}}`)).toBeGreaterThan(7 * 3600);
});

test('metrics --output: replaces the whole file and leaves no other', async () => {
  const { run } = await setUp();
  const folder = await makeFolder();
  const file = join(folder, 'klinekeep.prom');
  for (let round = 0; round < 2; round++) {
    const result = await run('metrics', '--output', file, '--quiet');
    expect(result).toMatchObject({ exitCode: EXIT.done, stdout: '', stderr: '' });
  }
  expect(await readdir(folder)).toEqual(['klinekeep.prom']);
  expect(await readFile(file, 'utf8')).toContain('klinekeep_run_exit_code{verb="metrics"} 0\n');
});
