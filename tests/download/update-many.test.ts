import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { freshDatabase } from '../support/database.ts';
import type { Fault } from '../support/fake-binance/faults.ts';
import type { FakeOptions } from '../support/fake-binance/server.ts';
import { defaultSymbols } from '../support/fake-binance/symbols.ts';
import { runScript, startScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const HOUR = 3_600_000;

async function setUp(options: FakeOptions = {}) {
  const fake = await startExchange({ nowMs: NOW, ...options });
  const { sql, url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  const update = (...words: string[]) => runScript('update-klines', words, env);
  /** Checks that each perpetual has exactly the exchange's candles of the last `count` hours. */
  const expectComplete = async (count: number) => {
    const perpetuals = await sql`
      select symbol, exchange_symbol from instruments where market = 'usdm' order by symbol`;
    expect(perpetuals.length).toBeGreaterThan(20);
    const lastMs = NOW - (NOW % HOUR);
    for (const { symbol, exchange_symbol: name } of perpetuals) {
      const wanted = await fake.candles('usdm', name, '1h', lastMs - count * HOUR, lastMs);
      expectSameRows((await storedRows(sql, 'usdm', symbol, '1h')).rows, expectedRows(wanted, NOW));
    }
  };
  return { fake, sql, env, update, expectComplete };
}

const FAULTS: Fault[] = [
  { kind: 429, retryAfterS: 1 },
  { kind: 500 },
  { kind: 502 },
  { kind: 503 },
  { kind: 'html' },
  { kind: 'reset' },
  { kind: 'hang' },
  { kind: 'cut' },
  { kind: 'empty' },
  { kind: 'invalid-symbol' },
  {
    kind: 'garbage',
    mutate: (rows) => rows.map((row, at) => (at === 1 ? [row[0], 'x', ...row.slice(2)] : row)),
  },
];

test('update: completes all series after every kind of failed answer', async () => {
  const { fake, env, update, expectComplete } = await setUp({ symbols: defaultSymbols(32) });
  await runScript('sync-instruments', ['--market', 'usdm'], env);
  // Each on the first page of two symbols, so that no page fails twice in different ways.
  for (const [index, fault] of FAULTS.entries())
    for (const number of [10 + index, 21 + index])
      fake.fail({ ...fault, symbol: `COIN0${number}USDT` });
  const patient = { ...env, BINANCE_TIMEOUT_S: '1' };
  const words = ['--market', 'usdm', '--interval', '1h', '--limit', '600', '--json'];
  const result = await runScript('update-klines', words, patient);
  expect(result.exitCode).toBe(EXIT.done);
  expect(JSON.parse(result.stdout)).toMatchObject({ failed: [], busy: [] });
  await expectComplete(600);
  expect((await update('--json')).exitCode).toBe(EXIT.done);
  await expectComplete(600);
});

test('two updates at once: share the work, and request no series twice', async () => {
  const { fake, env, expectComplete } = await setUp({
    symbols: defaultSymbols(24),
    latencyMs: 20,
  });
  await runScript('sync-instruments', ['--market', 'usdm'], env);
  const words = ['--market', 'usdm', '--interval', '1h', '--limit', '600', '--concurrency', '4'];
  const runs = await Promise.all([
    startScript('update-klines', [...words, '--json'], env).result,
    startScript('update-klines', [...words, '--json'], env).result,
  ]);
  expect(runs.map((run) => run.exitCode)).toEqual([EXIT.done, EXIT.done]);
  const inserted = runs.map((run) => JSON.parse(run.stdout).inserted);
  const pages = fake.klinesRequests().filter((request) => request.limit > 2);
  expect(inserted[0] + inserted[1]).toBe((pages.length / 2) * 600);
  expect(new Set(pages.map((page) => `${page.symbol} ${page.startTime}`)).size).toBe(pages.length);
  await expectComplete(600);
});

test('--json: reports each series, and the requests to each market', async () => {
  const { update } = await setUp();
  await update('--symbol', 'BTC/USDT:USDT', '--interval', '1h', '--limit', '700');
  const { stdout } = await update('--symbol', 'BTC/USDT:USDT', '--limit', '1200', '--json');
  expect(JSON.parse(stdout)).toEqual({
    series: 1,
    inserted: 500,
    revised: 0,
    disputed: 0,
    rejected: 0,
    openGaps: 0,
    oldOpenGaps: 0,
    stalled: [],
    busy: [],
    failed: [],
    details: [
      {
        symbol: 'BTC/USDT:USDT',
        interval: '1h',
        inserted: 500,
        revised: 0,
        disputed: 0,
        rejected: 0,
        openGaps: 0,
        oldOpenGaps: 0,
        requests: 3,
        seconds: expect.any(Number),
        stalledSeconds: 0,
      },
    ],
    // 1 for the clock, 1 for the listing, 2 + 1 for the pages and 1 for the last two candles.
    requests: { usdm: { requests: 5, weight: 6, highestMinute: expect.any(Number) } },
  });
});

test('an unknown symbol: is named, looked up by the next run, then ignored', async () => {
  const { fake, sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT,ETH/USDT', '--interval', '1h');
  fake.nowMs = NOW + HOUR;
  fake.fail({ kind: 'invalid-symbol', symbol: 'ETHUSDT', times: 99 });
  const first = await update();
  expect(first.exitCode).toBe(EXIT.failed);
  expect(first.stdout).toContain('ETH/USDT: Binance does not know the symbol ETHUSDT');

  // The exchange still lists it: it is named again.
  const second = await update();
  expect(second.exitCode).toBe(EXIT.failed);
  expect(second.stdout).toContain('ETH/USDT: Binance does not know the symbol ETHUSDT');

  fake.symbols = fake.symbols.filter((each) => each.symbol !== 'ETHUSDT');
  const third = await update();
  expect(third.exitCode).toBe(EXIT.done);
  expect(third.stderr).toContain('ETH/USDT is no longer traded: marked as delisted');
  fake.requests = [];
  expect((await update()).exitCode).toBe(EXIT.done);
  expect(fake.klinesRequests().map((request) => request.symbol)).toEqual(['BTCUSDT']);
  const [eth] = await sql`select status, ended_at from instruments where symbol = 'ETH/USDT'`;
  expect(eth).toEqual({ status: 'delisted', ended_at: expect.any(Date) });
});

test('a symbol that stopped: is updated to its last candle, then ignored', async () => {
  const { fake, update, sql } = await setUp();
  await update('--symbol', 'BTC/USDT,ETH/USDT', '--interval', '1h');
  const eth = fake.symbols.find((each) => each.symbol === 'ETHUSDT' && each.market === 'spot')!;
  eth.endedMs = NOW + 2 * HOUR;
  fake.nowMs = NOW + 10 * HOUR;
  expect((await update()).stderr).toContain('ETH/USDT 1h: +3');
  const standing = await update();
  expect(standing.exitCode).toBe(EXIT.failed);
  expect(standing.stderr).toContain('no new candles for 1 of 2 series: ETH/USDT 1h (6h)');
  eth.status = 'BREAK';
  expect((await update()).stderr).toContain('ETH/USDT is no longer traded: marked as delisted');
  fake.requests = [];
  await update();
  expect(fake.klinesRequests().map((request) => request.symbol)).toEqual(['BTCUSDT']);
  const [last] = await sql`
    select max(open_time) as open_time from all_klines where symbol = 'ETH/USDT'`;
  expect(last!.open_time.getTime()).toBe(NOW - (NOW % HOUR) + 2 * HOUR);
});

test('a new listing: begins at its first candle, which is remembered', async () => {
  const { fake, update, sql } = await setUp({
    symbols: [
      { market: 'usdm', symbol: 'NEWUSDT', base: 'NEW', quote: 'USDT', listedMs: NOW - 5 * HOUR },
    ],
  });
  await update('--symbol', 'NEW/USDT:USDT', '--interval', '1h', '--limit', '500');
  expect(await sql`select 1 from klines`).toHaveLength(5);
  fake.requests = [];
  await update('--limit', '500');
  fake.requests = [];
  await update('--limit', '500');
  expect(fake.klinesRequests()).toHaveLength(1);
});

test('candles: are the same, one at a time or a thousand at once', async () => {
  const { fake, sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT:USDT', '--interval', '1m', '--limit', '2');
  await update('--symbol', 'BTC/USDT', '--interval', '1m', '--limit', '2');
  const endMs = NOW + 8 * 60_000;
  for (fake.nowMs = NOW; fake.nowMs < endMs; fake.nowMs += 60_000)
    await update('--symbol', 'BTC/USDT');
  fake.nowMs = endMs;
  await update('--symbol', 'BTC/USDT', '--limit', '900');
  await update('--symbol', 'BTC/USDT:USDT', '--limit', '900');
  for (const [market, symbol] of [
    ['spot', 'BTC/USDT'],
    ['usdm', 'BTC/USDT:USDT'],
  ] as const) {
    const lastMs = endMs - (endMs % 60_000);
    const wanted = await fake.candles(market, 'BTCUSDT', '1m', lastMs - 900 * 60_000, lastMs);
    expectSameRows((await storedRows(sql, market, symbol, '1m')).rows, expectedRows(wanted, endMs));
  }
});

test('a failed page: leaves no hole when the next page was already there', async () => {
  const { fake, sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '50');
  fake.nowMs = NOW + 3000 * HOUR;
  const firstPageMs = NOW - (NOW % HOUR) + 900 * HOUR;
  const take = fake.faults.take.bind(fake.faults);
  fake.faults.take = (request) => {
    const { startTime = 0 } = request as unknown as { startTime?: number };
    return request.path === 'klines' && startTime < firstPageMs ? { kind: 403 } : take(request);
  };
  expect((await update()).exitCode).not.toBe(EXIT.done);
  fake.faults.take = take;
  expect((await update()).exitCode).toBe(EXIT.done);
  const [stored] = await sql`select count(*)::int as candles from klines`;
  expect(stored!.candles).toBe(3050);
});

test('a hole of the last day: is requested again by the next run', async () => {
  const { fake, sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1m', '--limit', '50');
  fake.nowMs = NOW + 50 * HOUR;
  fake.fail({
    kind: 'garbage',
    times: 99,
    mutate: (rows) => rows.filter((row) => row[0] < NOW + 28 * HOUR || row[0] > NOW + 29 * HOUR),
  });
  await update();
  fake.faults.clear();
  await update();
  const [stored] = await sql`select count(*)::int as candles from klines`;
  expect(stored!.candles).toBe(3050);
});

test('--force --limit: leaves no hole in a series that is behind', async () => {
  const { fake, sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '50');
  fake.nowMs = NOW + 3500 * HOUR;
  fake.fail({ kind: 'empty', times: 1 });
  expect((await update('--limit', '20', '--force')).exitCode).toBe(EXIT.done);
  const [stored] = await sql`select count(*)::int as candles from klines`;
  expect(stored!.candles).toBe(3550);
});

test('a trading halt: ends when the symbol is traded again', async () => {
  const { fake, sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT,ETH/USDT', '--interval', '1h');
  const traded = fake.symbols.filter((each) => each.market === 'spot');
  for (const each of traded) {
    each.gaps = [{ fromMs: NOW - 1.5 * HOUR, toMs: NOW + 10 * HOUR }];
    each.status = 'BREAK';
  }
  for (const hours of [6, 7, 8]) {
    fake.nowMs = NOW + hours * HOUR;
    await update();
  }
  expect((await update()).stderr).toContain('No instrument is followed');
  for (const each of traded) each.status = 'TRADING';
  fake.nowMs = NOW + 50 * HOUR;
  await sql`update market_checks set looked_up_at = now() - interval '2 hours'`;
  const result = await update();
  expect(result.stderr).toContain('ETH/USDT is traded again');
  expect(result.stdout).toContain('2 series up to date: +');
});

test('a ban from one market: the other is updated, and the run ends with 75', async () => {
  const { fake, update } = await setUp();
  await update('--symbol', 'BTC/USDT,BTC/USDT:USDT', '--interval', '1h');
  fake.nowMs = NOW + HOUR;
  fake.fail({ kind: 418, retryAfterS: 60, path: 'time', market: 'spot' });
  const result = await update();
  expect(result.exitCode).toBe(EXIT.later);
  expect(result.stdout).toContain('1 series up to date: +1 candles');
  expect(result.stdout).toContain('BTC/USDT: Binance has banned this IP address until');
  // Once for all instruments: cron may repeat it for days.
  expect(result.stderr).toContain('spot: Binance has banned this IP address until');
  expect(result.stderr.match(/banned/g)).toHaveLength(1);
  fake.requests = [];
  expect((await update()).exitCode).toBe(EXIT.later);
  expect(fake.requests.filter((request) => request.market === 'spot')).toEqual([]);
});

test('--force: readers see the old candles or the new ones, never fewer', async () => {
  const { fake, sql, env, update } = await setUp({ latencyMs: 5 });
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '3000');
  await sql`update klines set volume = 1`;
  fake.fail({ kind: 'cut', times: 2 });
  const seen = new Set<string>();
  let isDone = false;
  const reading = (async () => {
    while (!isDone) {
      const [row] = await sql`
        select count(*)::int as candles, count(*) filter (where volume = 1)::int as old
        from all_klines where symbol = 'BTC/USDT'`;
      seen.add(`${row!.candles} candles, ${row!.old} old`);
      await sleep(1);
    }
  })();
  const result = await runScript('update-klines', ['--force'], env);
  isDone = true;
  await reading;
  expect(result.exitCode).toBe(EXIT.done);
  expect([...seen].filter((each) => !/^3000 candles, (3000|0) old$/.test(each))).toEqual([]);
});
