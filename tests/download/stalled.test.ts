import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { runScript } from '../support/script.ts';
import { startStore } from '../support/store.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

async function setUp(interval = '1m') {
  const store = await startStore({ nowMs: NOW });
  const { fake, sql, env } = store;
  const update = (...words: string[]) => runScript('update-klines', words, env);
  await update('--symbol', 'BTC/USDT,ETH/USDT,BNB/USDT', '--interval', interval);
  /** The exchange answers with no candles. */
  const silence = (...symbols: string[]) => {
    for (const symbol of symbols) fake.fail({ kind: 'empty', symbol, times: 9_999 });
  };
  const updateAt = async (minutes: number, ...words: string[]) => {
    fake.nowMs = NOW + minutes * MINUTE;
    return await update('--quiet', ...words);
  };
  const expectNoGaps = async () => {
    for (const table of ['confirmed_gaps', 'open_gaps'])
      expect(await sql`select from_time, to_time from ${sql(table)}`).toEqual([]);
  };
  return { ...store, silence, updateAt, expectNoGaps };
}

/** A monitor. @returns its address, and the paths that were requested */
async function startMonitor() {
  const paths: string[] = [];
  const server = createServer((request, response) => {
    paths.push(request.url ?? '');
    response.end();
  });
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/ping`, paths };
}

describe('a series for which the exchange sends no candles', () => {
  test('fails the run and the health check after ten minutes, and is no gap', async () => {
    const { fake, sql, env, silence, updateAt, expectNoGaps } = await setUp();
    const monitor = await startMonitor();
    env.HEALTHCHECK_URL = monitor.url;
    silence('ETHUSDT');
    // The first missing candle should have closed half a minute after the last update.
    for (const minutes of [1, 5, 10])
      expect(await updateAt(minutes)).toMatchObject({ exitCode: EXIT.done, stderr: '' });
    for (const minutes of [11, 15]) {
      expect(await updateAt(minutes)).toMatchObject({
        exitCode: EXIT.failed,
        stderr: `error: Binance sends no new candles for 1 of 3 series: ETH/USDT 1m (${minutes - 1}m)\n`,
      });
    }
    await expectNoGaps();
    const ends = monitor.paths.filter((path) => !path.endsWith('/start'));
    expect(ends).toEqual(['/ping/0', '/ping/0', '/ping/0', '/ping/1', '/ping/1']);

    fake.faults.clear();
    expect(await updateAt(16)).toMatchObject({ exitCode: EXIT.done, stderr: '' });
    const lastMs = fake.nowMs!;
    const wanted = await fake.candles('spot', 'ETHUSDT', '1m', NOW - 100.6 * MINUTE, lastMs);
    const stored = await storedRows(sql, 'spot', 'ETH/USDT', '1m');
    expectSameRows(stored.rows, expectedRows(wanted, lastMs));
  });

  test('is counted and named from the first missing candle on', async () => {
    const { fake, run, silence } = await setUp();
    silence('ETHUSDT');
    fake.nowMs = NOW + 3 * MINUTE;
    const { stdout, stderr } = await run('update-klines');
    expect(stdout).toContain('2 series up to date, 1 stalled: +6 candles, 0 corrected');
    expect(stderr).toContain('no new candles for 1 of 3 series: ETH/USDT 1m (2m)');
    const json = JSON.parse((await run('update-klines', '--json')).stdout);
    expect(json.stalled).toEqual([{ symbol: 'ETH/USDT', interval: '1m', seconds: 150 }]);
  });

  test('has not stalled while a candle may still be on its way', async () => {
    const { fake, run, silence } = await setUp();
    silence('ETHUSDT');
    fake.nowMs = NOW + 0.6 * MINUTE;
    expect(JSON.parse((await run('update-klines', '--json')).stdout).stalled).toEqual([]);
  });

  test('fails the run after --stalled-after', async () => {
    const { silence, updateAt } = await setUp();
    silence('ETHUSDT');
    const words = ['--stalled-after', '2m'];
    expect((await updateAt(2, ...words)).exitCode).toBe(EXIT.done);
    expect((await updateAt(3, ...words)).exitCode).toBe(EXIT.failed);
    expect((await updateAt(30, '--stalled-after', '1h')).exitCode).toBe(EXIT.done);
  });

  test('has stalled too when it begins', async () => {
    const { fake, run } = await setUp();
    const range = ['--symbol', 'SOL/USDT', '--interval', '1m'];
    // Its first candle is known, but the page is empty, twice.
    await run('fetch-history', 'SOL/USDT', '--interval', '1h', '--since', '2024-03-10');
    fake.fail({ kind: 'empty', symbol: 'SOLUSDT', times: 2 });
    const result = await run('update-klines', ...range, '--json');
    expect(result.exitCode).toBe(EXIT.failed);
    expect(JSON.parse(result.stdout)).toMatchObject({
      inserted: 0,
      stalled: [{ symbol: 'SOL/USDT', interval: '1m' }],
    });
  });

  test('has not stalled when its symbol is no longer traded', async () => {
    const { fake, silence, updateAt, sql } = await setUp('1h');
    silence('ETHUSDT');
    fake.symbols.find(({ market, symbol }) => market === 'spot' && symbol === 'ETHUSDT')!.status =
      'BREAK';
    // It is looked up by the first run that finds it silent for long, not by the next one.
    const result = await updateAt(5 * 60);
    expect(result).toMatchObject({
      exitCode: EXIT.done,
      stderr: 'warning: ETH/USDT is no longer traded: marked as delisted\n',
    });
    const [eth] = await sql`select status from instruments where symbol = 'ETH/USDT'`;
    expect(eth?.status).toBe('delisted');
    expect(await updateAt(6 * 60)).toMatchObject({ exitCode: EXIT.done, stderr: '' });
  });

  test('has stalled when only candles that are stored already come', async () => {
    const { fake, updateAt, expectNoGaps } = await setUp('1h');
    const lastMs = NOW - HOUR;
    fake.fail({
      kind: 'garbage',
      symbol: 'ETHUSDT',
      times: 9_999,
      mutate: (rows) => rows.filter((row) => row[0] < lastMs),
    });
    expect(await updateAt(3 * 60)).toMatchObject({
      exitCode: EXIT.failed,
      stderr: 'error: Binance sends no new candles for 1 of 3 series: ETH/USDT 1h (2h)\n',
    });
    await expectNoGaps();
  });
});

describe('silence for all series', () => {
  test('is reported on one line at once', async () => {
    const { silence, updateAt, expectNoGaps } = await setUp();
    silence('BTCUSDT', 'ETHUSDT', 'BNBUSDT');
    const line = (level: string, span: string) =>
      `${level}: Binance sends no new candles for any of the 3 series whose candles should have ` +
      `closed: BNB/USDT 1m (${span}), BTC/USDT 1m (${span}), ETH/USDT 1m (${span})\n`;
    expect(await updateAt(2)).toMatchObject({ exitCode: EXIT.done, stderr: line('warning', '1m') });
    expect(await updateAt(12)).toMatchObject({
      exitCode: EXIT.failed,
      stderr: line('error', '11m'),
    });
    await expectNoGaps();
  });

  test('names three series and the number of others', async () => {
    const { run, fake, silence, updateAt } = await setUp();
    await run('update-klines', '--symbol', 'SOL/USDT,XRP/USDT', '--interval', '1m');
    silence('BTCUSDT', 'ETHUSDT', 'BNBUSDT', 'SOLUSDT', 'XRPUSDT');
    const { stderr } = await updateAt(2);
    expect(stderr.split('\n')).toHaveLength(2);
    expect(stderr).toMatch(/BNB.*BTC.*ETH\/USDT 1m \(1m\) and 2 others\n$/);
    expect(fake.klinesRequests().length).toBeGreaterThan(0);
  });
});
