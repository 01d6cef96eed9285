import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { freshDatabase } from '../support/database.ts';
import type { FakeOptions } from '../support/fake-binance/server.ts';
import { RECORDINGS, recordedOutage } from '../support/recordings.ts';
import { runScript, startScript } from '../support/script.ts';
import { startExchange, startStore } from '../support/store.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const DAY = 86_400_000;

async function setUp(options: FakeOptions = {}) {
  const { fake, database, env } = await startStore({ nowMs: NOW, ...options });
  const fetchHistory = (...words: string[]) => runScript('fetch-history', words, env);
  return { fake, sql: database.sql, env, fetchHistory };
}

test('fetch: registers a new symbol and stores its closed candles exactly', async () => {
  const { fake, sql, fetchHistory } = await setUp();
  const result = await fetchHistory(
    'btc/usdt',
    '--interval',
    '1h',
    '--since',
    '2023-12-01',
    '--json',
  );
  expect(result).toMatchObject({ exitCode: EXIT.done });
  const wanted = await fake.candles('spot', 'BTCUSDT', '1h', Date.UTC(2023, 11, 1), NOW);
  const { rows } = await storedRows(sql, 'spot', 'BTC/USDT', '1h');
  expectSameRows(rows, expectedRows(wanted, NOW));
  expect(JSON.parse(result.stdout).series).toMatchObject([
    { symbol: 'BTC/USDT', interval: '1h', inserted: wanted.length - 1, missing: 0 },
  ]);
  const instruments = await sql`select symbol, table_name, listed_at from instruments`;
  expect(instruments).toMatchObject([
    { symbol: 'BTC/USDT', table_name: 'btc_usdt', listed_at: new Date(Date.UTC(2019, 0, 1)) },
  ]);
});

test('fetch: requests only missing candles, never stored or archived ones', async () => {
  const { fake, sql, env, fetchHistory } = await setUp();
  const words = ['BTC/USDT', '--interval', '1h', '--since', '2024-01-01', '--until', '2024-03-01'];
  await fetchHistory(...words);
  await runScript('archive', ['30', '--as-of', '2024-03-01'], env);
  await sql`delete from klines where open_time >= '2024-02-10' and open_time < '2024-02-10 05:00'`;
  fake.requests = [];
  const result = await fetchHistory(...words);
  expect(result.stdout).toContain('+5 candles');
  expect(fake.klinesRequests()).toMatchObject([
    { startTime: Date.UTC(2024, 1, 10), endTime: Date.UTC(2024, 1, 10, 5) - 1 },
  ]);
  fake.requests = [];
  await fetchHistory(...words);
  expect(fake.klinesRequests()).toEqual([]);
});

test('fetch: starts at the listing, and reports a gap of the exchange', async () => {
  const listedMs = NOW - 20 * DAY;
  const gap = { fromMs: NOW - 5 * DAY, toMs: NOW - 4 * DAY };
  const { fake, fetchHistory } = await setUp({
    symbols: [
      { market: 'spot', symbol: 'NEWUSDT', base: 'NEW', quote: 'USDT', listedMs, gaps: [gap] },
    ],
  });
  const first = await fetchHistory('NEW/USDT', '--interval', '1h');
  expect(first.stdout).toMatch(/NEW\/USDT 1h: \+\d+ candles, 2024-02-19 12:00 .*24 in open gaps/);
  const asked = fake.klinesRequests().filter((request) => request.interval === '1h');
  expect(Math.min(...asked.map((request) => request.startTime!))).toBeGreaterThan(
    listedMs - 3_600_000,
  );
});

test('fetch: works for any interval and market, and for unusual symbols', async () => {
  const { sql, fetchHistory } = await setUp();
  const perpetual = await fetchHistory(
    '1000SHIBUSDT',
    '--market',
    'usdm',
    '--interval',
    '1w',
    '--since',
    '2023-03-01',
  );
  const chinese = await fetchHistory('币安人生/USDT', '--interval', '1M', '--since', '2022-03-01');
  expect([perpetual.exitCode, chinese.exitCode]).toEqual([0, 0]);
  const rows = await sql`
    select i.table_name, k.interval, count(*)::int as candles
    from klines k join instruments i on i.id = k.instrument_id
    group by 1, 2 order by 2`;
  expect(rows).toMatchObject([
    { table_name: '币安人生_usdt', interval: '1M' },
    { table_name: '1000shib_usdt_perp', interval: '1w' },
  ]);
});

test('fetch: keeps its pages after SIGKILL, and then requests the rest', async () => {
  const { fake, sql, env, fetchHistory } = await setUp({ latencyMs: 60 });
  const words = ['BTC/USDT', '--since', '2024-03-01', '--until', '2024-03-10'];
  const running = startScript('fetch-history', words, env);
  while (fake.klinesRequests().length < 8) await sleep(20);
  running.process.kill('SIGKILL');
  await running.result;
  // The server may still be committing what it had been sent.
  await sleep(300);
  const [kept] = await sql`select count(*)::int as candles from klines`;
  expect(kept!.candles).toBeGreaterThan(1000);

  fake.requests = [];
  const wanted = await fake.candles(
    'spot',
    'BTCUSDT',
    '1m',
    Date.UTC(2024, 2, 1),
    Date.UTC(2024, 2, 10) - 1,
  );
  const result = await fetchHistory(...words, '--json');
  expect(JSON.parse(result.stdout).series[0].inserted).toBe(wanted.length - kept!.candles);
  expectSameRows((await storedRows(sql, 'spot', 'BTC/USDT', '1m')).rows, expectedRows(wanted, NOW));
});

test('fetch: stops at the next page on SIGTERM with 143, and says where', async () => {
  const { fake, env } = await setUp({ latencyMs: 60 });
  const running = startScript('fetch-history', ['BTC/USDT', '--since', '2023-12-01'], env);
  while (fake.klinesRequests().length < 8) await sleep(20);
  running.process.kill('SIGTERM');
  const result = await running.result;
  expect(result.exitCode).toBe(143);
  expect(result.stderr).toMatch(/stopped at BTC\/USDT 1m 20\d\d-\d\d-\d\d/);
});

test('fetch: stores bad rows in rejected_klines, and the rest as candles', async () => {
  const { fake, sql, fetchHistory } = await setUp();
  fake.fail({
    kind: 'garbage',
    mutate: (rows) => [
      [...rows[0]!.slice(0, 4), 'abc', ...rows[0]!.slice(5)],
      [rows[1]![0], '-1', ...rows[1]!.slice(2)],
      [rows[2]![0], '1.123456789', ...rows[2]!.slice(2)],
      rows[3]!.slice(0, 11),
      [rows[4]![0] - 10 * DAY, ...rows[4]!.slice(1)],
      ...rows.slice(5),
    ],
    // The first klines request looks for the listing.
    symbol: 'ETHUSDT',
  });
  const words = ['--interval', '1h', '--since', '2024-03-01', '--until', '2024-03-02'];
  await fetchHistory('BTC/USDT', ...words);
  await sql`insert into instruments (market, symbol, exchange_symbol, base, quote, status, table_name, listed_at)
    values ('spot', 'ETH/USDT', 'ETHUSDT', 'ETH', 'USDT', 'active', 'eth_usdt', '2019-01-01')`;
  const result = await fetchHistory('ETH/USDT', ...words);
  expect(result.exitCode).toBe(EXIT.done);
  // What was missing then has come the second time.
  expect(result.stdout).toContain('+24 candles');
  expect(result.stdout).toContain('5 rejected (see rejected_klines)');
  const reasons = await sql`select reason from rejected_klines order by id`;
  expect(reasons.map((row) => row.reason)).toEqual([
    'open_time 2024-02-20T04:00:00Z is outside the requested range',
    'close_price is not a number with at most 8 decimals: "abc"',
    'open_price is not above zero: "-1"',
    'open_price is not a number with at most 8 decimals: "1.123456789"',
    'not 12 fields',
  ]);
});

test('fetch: reconnects after cuts, and stores each candle once', async () => {
  const { fake, sql, fetchHistory } = await setUp({ latencyMs: 30 });
  const words = ['BTC/USDT', '--since', '2024-03-01', '--until', '2024-03-10'];
  let isOver = false;
  const running = fetchHistory(...words).finally(() => {
    isOver = true;
  });
  for (let cuts = 0; cuts < 2; cuts++) {
    const asked = fake.klinesRequests().length;
    while (fake.klinesRequests().length < asked + 5 && !isOver) await sleep(10);
    await sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'klinekeep fetch' and datname = current_database()`;
  }
  const result = await running;
  expect(result).toMatchObject({ exitCode: EXIT.done });
  const wanted = await fake.candles(
    'spot',
    'BTCUSDT',
    '1m',
    Date.UTC(2024, 2, 1),
    Date.UTC(2024, 2, 10) - 1,
  );
  expectSameRows((await storedRows(sql, 'spot', 'BTC/USDT', '1m')).rows, expectedRows(wanted, NOW));
});

test('fetch: ends with 65 for an unlisted symbol, and registers no other', async () => {
  const { fake, sql, fetchHistory } = await setUp();
  const result = await fetchHistory('BTC/USDT', 'NOPE/USDT', '--since', '1d');
  expect(result.exitCode).toBe(EXIT.data);
  expect(result.stderr).toContain('NOPE');
  expect(fake.klinesRequests()).toEqual([]);
  expect(await sql`select 1 from instruments`).toHaveLength(0);
});

test('fetch: continues with other symbols when one fails, and names it', async () => {
  const { fake, fetchHistory } = await setUp();
  await fetchHistory(
    'BTC/USDT',
    'ETH/USDT',
    'BNB/USDT',
    '--interval',
    '1h',
    '--since',
    '2024-03-08',
  );
  fake.fail({ kind: 'invalid-symbol', symbol: 'ETHUSDT', times: 99 });
  const result = await fetchHistory(
    'BTC/USDT',
    'ETH/USDT',
    'BNB/USDT',
    '--interval',
    '1m',
    '--since',
    '2024-03-09',
  );
  expect(result.exitCode).toBe(EXIT.failed);
  const lines = result.stdout.trimEnd().split('\n');
  expect(lines).toMatchObject([
    expect.stringContaining('BTC/USDT 1m: +2,190'),
    expect.stringContaining('BNB/USDT 1m: +2,190'),
    '1 FAILED:',
    expect.stringContaining('  ETH/USDT: Binance does not know the symbol ETHUSDT'),
  ]);
});

test('fetch: stores recorded candles exactly, from REST, and does not request them again', async () => {
  const { since, until, days } = recordedOutage();
  const { fake, sql, fetchHistory } = await setUp({
    recordings: RECORDINGS,
    nowMs: Date.UTC(2023, 3, 20),
  });
  const range = ['--since', since, '--until', until, '--source', 'rest'];
  const words = ['BTC/USDT', 'ETH/USDT', ...range];
  expect((await fetchHistory(...words)).exitCode).toBe(EXIT.done);
  for (const symbol of ['BTC', 'ETH']) {
    const wanted = await fake.candles(
      'spot',
      `${symbol}USDT`,
      '1m',
      Date.parse(since),
      Date.parse(until) - 1,
    );
    expect(wanted).toHaveLength(days * 1440 - 80);
    const { rows } = await storedRows(sql, 'spot', `${symbol}/USDT`, '1m');
    expectSameRows(rows, expectedRows(wanted, Number.POSITIVE_INFINITY));
  }
  fake.requests = [];
  const again = await fetchHistory(...words);
  expect(again.stdout.match(/\+0 candles.*80 not at the exchange/g)).toHaveLength(2);
  expect(fake.klinesRequests()).toEqual([]);
  await fetchHistory(...words, '--recheck-gaps');
  // Each once, from the candle before the outage to the one after.
  const outage = {
    startTime: Date.UTC(2023, 2, 24, 12, 39),
    endTime: Date.UTC(2023, 2, 24, 14),
  };
  expect(fake.klinesRequests()).toMatchObject([outage, outage]);
  const gaps = await sql`select shown_at is not null as is_shown, file, outage from confirmed_gaps`;
  const known = { is_shown: true, file: null, outage: 'outage of 2023-03-24' };
  expect([...gaps]).toEqual([known, known]);
});

test('fetch: requests a page again that was empty, before it confirms a gap', async () => {
  const fake = await startExchange({ nowMs: NOW });
  const { sql, url } = await freshDatabase();
  const words = ['BTC/USDT', '--interval', '1h', '--since', '2024-01-01', '--until', '2024-03-01'];
  fake.fail({ kind: 'empty' });
  await runScript('fetch-history', [...words, '--source', 'rest'], {
    DATABASE_URL: url,
    ...fake.env,
  });
  expect(await sql`select 1 from confirmed_gaps`).toHaveLength(0);
  expect(await sql`select 1 from klines`).toHaveLength(60 * 24);
});

test('fetch: confirms no gap while the exchange sends nothing at all', async () => {
  const { fake, sql, fetchHistory } = await setUp();
  const range = ['--since', '2024-01-01', '--until', '2024-03-01', '--source', 'rest'];
  const fetch = () => fetchHistory('BTC/USDT', '--interval', '1h', ...range);
  await fetch();
  await sql`delete from klines where open_time >= '2024-01-10' and open_time < '2024-01-12'`;
  fake.fail({ kind: 'empty', times: 99 });
  for (let run = 1; run <= 2; run++) {
    const result = await fetch();
    expect(result.exitCode).toBe(EXIT.later);
    expect(result.stdout).toContain('48 in open gaps: run it again in 5 minutes');
    await sql`update open_gaps set asked_at = asked_at - interval '1 hour'`;
  }
  expect(await sql`select 1 from confirmed_gaps`).toHaveLength(0);
  fake.faults.clear();
  await fetch();
  expect(await sql`select 1 from klines`).toHaveLength(60 * 24);
});

test('fetch: confirms no gap that is less than a day old', async () => {
  const HOUR = 3_600_000;
  const fromMs = NOW - (NOW % HOUR) - 20 * HOUR;
  const gap = { fromMs, toMs: fromMs + 2 * HOUR };
  const { fake, sql, fetchHistory } = await setUp({
    symbols: [{ market: 'spot', symbol: 'BTCUSDT', base: 'BTC', quote: 'USDT', gaps: [gap] }],
  });
  const words = ['BTC/USDT', '--interval', '1h', '--since', '2024-03-01', '--source', 'rest'];
  for (let run = 1; run <= 3; run++) {
    const result = await fetchHistory(...words);
    // A later run cannot confirm it yet, so there is nothing to do.
    expect(result.exitCode).toBe(EXIT.done);
    expect(result.stdout.trim()).toMatch(/; 2 in open gaps$/);
    await sql`update open_gaps set shown_at = shown_at - interval '5 minutes'`;
  }
  expect(await sql`select 1 from confirmed_gaps`).toHaveLength(0);
  fake.nowMs = NOW + 7 * HOUR;
  expect((await fetchHistory(...words)).exitCode).toBe(EXIT.done);
  expect(await sql`select from_time, to_time from confirmed_gaps`).toEqual([
    { from_time: new Date(gap.fromMs), to_time: new Date(gap.toMs) },
  ]);
});

test('fetch: downloads a symbol once that is given by two names', async () => {
  const { fetchHistory } = await setUp();
  const words = ['BTC/USDT', 'BTCUSDT', '--interval', '1h', '--since', '2024-03-01'];
  const result = await fetchHistory(...words);
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stdout.trim().split('\n')).toHaveLength(1);
});
