import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { freshDatabase } from '../support/database.ts';
import type { Fault } from '../support/fake-binance/faults.ts';
import { type FakeOptions, startFakeBinance } from '../support/fake-binance/server.ts';
import { defaultSymbols } from '../support/fake-binance/symbols.ts';
import { runScript, startScript } from '../support/script.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const HOUR = 3_600_000;

async function setUp(options: FakeOptions = {}) {
  const fake = await startFakeBinance({ nowMs: NOW, ...options });
  onTestFinished(() => fake.close());
  const { sql, url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  const update = (...words: string[]) => runScript('update-klines', words, env);
  /** Each active perpetual has exactly the exchange's candles of the last `count` hours. */
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

/** As many as there are takes minutes: `KLINEKEEP_SYMBOLS=500`. */
const SYMBOLS = Number(process.env.KLINEKEEP_SYMBOLS ?? 60);

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

test('when one answer in twenty fails in every way there is, all series come complete, once', async () => {
  const { fake, env, update, expectComplete } = await setUp({
    symbols: defaultSymbols(SYMBOLS),
  });
  await runScript('sync-instruments', ['--market', 'usdm'], env);
  for (const fault of FAULTS)
    fake.fail({ ...fault, probability: 0.05 / FAULTS.length, times: 1_000 });
  const patient = { ...env, BINANCE_TIMEOUT_S: '1' };
  const words = ['--market', 'usdm', '--interval', '1h', '--limit', '1200', '--json'];
  const result = await runScript('update-klines', words, patient);
  expect(result.exitCode).toBe(EXIT.done);
  expect(JSON.parse(result.stdout)).toMatchObject({ failed: [], held: [] });
  await expectComplete(1200);
  expect((await update('--json')).exitCode).toBe(EXIT.done);
  await expectComplete(1200);
});

test('two updates at once share the work: both end well, and no series is asked for twice', async () => {
  const { fake, env, expectComplete } = await setUp({
    symbols: defaultSymbols(40),
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
}, 30_000);

test('--json tells of each series what it took, and what was asked of each market', async () => {
  const { update } = await setUp();
  await update('--symbol', 'BTC/USDT:USDT', '--interval', '1h', '--limit', '700');
  const { stdout } = await update('--symbol', 'BTC/USDT:USDT', '--limit', '1200', '--json');
  expect(JSON.parse(stdout)).toEqual({
    series: 1,
    inserted: 500,
    revised: 0,
    rejected: 0,
    held: [],
    failed: [],
    details: [
      {
        symbol: 'BTC/USDT:USDT',
        interval: '1h',
        inserted: 500,
        revised: 0,
        rejected: 0,
        requests: 3,
        seconds: expect.any(Number),
        isStalled: false,
      },
    ],
    // 1 for the clock, 1 for the listing, 2 + 1 for the pages and 1 for the last two candles.
    requests: { usdm: { requests: 5, weight: 6, highestMinute: expect.any(Number) } },
  });
});

test('a symbol that the exchange does not know any more is named, looked up by the next run, and left alone then', async () => {
  const { fake, sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT,ETH/USDT', '--interval', '1h');
  fake.nowMs = NOW + HOUR;
  fake.fail({ kind: 'invalid-symbol', symbol: 'ETHUSDT', times: 99 });
  const first = await update();
  expect(first.exitCode).toBe(EXIT.failed);
  expect(first.stdout).toContain('ETH/USDT: Binance knows no symbol ETHUSDT');

  // The exchange still lists it: it is named again.
  const second = await update();
  expect(second.exitCode).toBe(EXIT.failed);
  expect(second.stdout).toContain('ETH/USDT: Binance knows no symbol ETHUSDT');

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

test('a symbol that stopped trading is brought to its last candle, looked up, and left alone then', async () => {
  const { fake, update, sql } = await setUp();
  await update('--symbol', 'BTC/USDT,ETH/USDT', '--interval', '1h');
  const eth = fake.symbols.find((each) => each.symbol === 'ETHUSDT' && each.market === 'spot')!;
  eth.endedMs = NOW + 2 * HOUR;
  fake.nowMs = NOW + 10 * HOUR;
  expect((await update()).stderr).toContain('ETH/USDT 1h: +3');
  const standing = await update();
  expect(standing.exitCode).toBe(EXIT.done);
  expect(standing.stderr).toContain('ETH/USDT 1h: the exchange sends nothing new');
  eth.status = 'BREAK';
  expect((await update()).stderr).toContain('ETH/USDT is no longer traded: marked as delisted');
  fake.requests = [];
  await update();
  expect(fake.klinesRequests().map((request) => request.symbol)).toEqual(['BTCUSDT']);
  const [last] = await sql`
    select max(open_time) as open_time from all_klines where symbol = 'ETH/USDT'`;
  expect(last!.open_time.getTime()).toBe(NOW - (NOW % HOUR) + 2 * HOUR);
});

test('a new listing begins at its first candle, and is not looked for before it again', async () => {
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

test('candles come out the same, one at a time or a thousand at once', async () => {
  const { fake, sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT:USDT', '--interval', '1m', '--limit', '2');
  await update('--symbol', 'BTC/USDT', '--interval', '1m', '--limit', '2');
  const endMs = NOW + 30 * 60_000;
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

test('a page that fails while the next one is there already leaves no hole behind', async () => {
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

test('what a page of the last day lacked twice is asked for by the next run, however many candles came behind it', async () => {
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

test('--force --limit of a series that is behind leaves no hole, and an empty page is asked for again', async () => {
  const { fake, sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '50');
  fake.nowMs = NOW + 3500 * HOUR;
  fake.fail({ kind: 'empty', times: 1 });
  expect((await update('--limit', '20', '--force')).exitCode).toBe(EXIT.done);
  const [stored] = await sql`select count(*)::int as candles from klines`;
  expect(stored!.candles).toBe(3550);
});

test('a halt looks like a delisting; when trading goes on, so does update', async () => {
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

test('banned from one market: the other is updated, and the run ends with 75', async () => {
  const { fake, update } = await setUp();
  await update('--symbol', 'BTC/USDT,BTC/USDT:USDT', '--interval', '1h');
  fake.nowMs = NOW + HOUR;
  fake.fail({ kind: 418, retryAfterS: 60, path: 'time', market: 'spot' });
  const result = await update();
  expect(result.exitCode).toBe(EXIT.later);
  expect(result.stdout).toContain('1 series up to date: +1 candles');
  expect(result.stdout).toContain('BTC/USDT: Binance has banned this IP address until');
  // Once, however many of its instruments are followed: a ban may last for days of a crontab's runs.
  expect(result.stderr).toContain('spot: Binance has banned this IP address until');
  expect(result.stderr.match(/banned/g)).toHaveLength(1);
  fake.requests = [];
  expect((await update()).exitCode).toBe(EXIT.later);
  expect(fake.requests.filter((request) => request.market === 'spot')).toEqual([]);
});

test('--force: while it replaces candles, readers see the old ones or the new ones, never fewer', async () => {
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
