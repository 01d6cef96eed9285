import { once } from 'node:events';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { DAY_MS } from '../../lib/base/time.ts';
import type { Instrument } from '../../lib/market/instrument.ts';
import { divides, INTERVALS, type Interval, maxStepMs } from '../../lib/market/intervals.ts';
import { disconnected } from '../../lib/postgres/connection.ts';
import { type CandleRange, planCandles } from '../../lib/read/candle-plan.ts';
import { type Candle, candles, readCandles } from '../../lib/read/candles.ts';
import { findInstruments } from '../../lib/store/instruments.ts';
import { storedSeries } from '../../lib/store/series.ts';
import type { TestDatabase } from '../support/database.ts';
import type { FakeBinance, FakeOptions } from '../support/fake-binance/server.ts';
import { RECORDINGS, recordedOutage } from '../support/recordings.ts';
import { runScript, startScript } from '../support/script.ts';
import { startStore } from '../support/store.ts';
import { canonical, expectedRows, expectSameRows } from '../support/stored.ts';

async function setUp(options: FakeOptions) {
  const { fake, database, env, run } = await startStore(options);
  const fetch = async (interval: Interval, since: string, until: string, symbol = 'BTC/USDT') => {
    const words = ['--interval', interval, '--since', since, '--until', until];
    const result = await run('fetch-history', symbol, ...words);
    expect(result.exitCode, result.stderr).toBe(EXIT.done);
  };
  const print = (...words: string[]) => run('candles', ...words);
  const json = async (...words: string[]) => JSON.parse((await print(...words, '--json')).stdout);
  return { fake, database, env, run, fetch, print, json };
}

const bitcoin = async ({ sql }: TestDatabase, symbol = 'BTC/USDT') =>
  (
    await findInstruments(sql, [
      { market: 'spot', exchangeSymbol: symbol.replace('/', ''), symbol },
    ])
  )[0] as Instrument;

/** In the form of expectedRows. */
function asRow(candle: Candle): string {
  return canonical([
    ...[candle.openMs, candle.open, candle.high, candle.low, candle.close, candle.volume],
    ...[candle.closeMs, candle.quoteVolume, candle.trades],
    ...[candle.takerBuyVolume, candle.takerBuyQuoteVolume],
  ]);
}

async function rolledUp(
  database: TestDatabase,
  interval: Interval,
  nowMs: number,
  range: CandleRange = {},
  symbol?: string,
) {
  const instrument = await bitcoin(database, symbol);
  const plan = await planCandles(database.sql, instrument, interval, range, nowMs);
  const found: Candle[] = [];
  for await (const candle of readCandles(database.sql, plan)) found.push(candle);
  return { plan, found };
}

async function published(
  fake: FakeBinance,
  interval: Interval,
  from: string,
  until: string,
  symbol = 'BTCUSDT',
) {
  const rows = await fake.candles(
    'spot',
    symbol,
    interval,
    Date.parse(from),
    Date.parse(until) - 1,
  );
  return expectedRows(rows, Number.POSITIVE_INFINITY);
}

test('candles: rolls recorded 1m candles up to the recorded 1h candles', async () => {
  const { since, until, days } = recordedOutage();
  const nowMs = Date.UTC(2023, 3, 20);
  const { fake, database, run, fetch } = await setUp({ nowMs, recordings: RECORDINGS });
  for (const symbol of ['BTC/USDT', 'ETH/USDT']) {
    await fetch('1m', since, until, symbol);
    await run('archive', String(Math.floor(days / 2)), '--as-of', until);
    const { plan, found } = await rolledUp(database, '1h', nowMs, {}, symbol);
    expect(plan.sources.map((source) => source.interval)).toEqual(['1m']);
    const wanted = await published(fake, '1h', since, until, symbol.replace('/', ''));
    expectSameRows(found.map(asRow), wanted);
    expect(found).toHaveLength(days * 24 - 1);
    const incomplete = found.filter((candle) => candle.parts < candle.wantedParts);
    expect(incomplete.map(({ openMs, parts }) => [openMs, parts])).toEqual([
      [Date.UTC(2023, 2, 24, 12), 40],
    ]);
  }
});

test('candles: rolls up every interval across both tiers', async () => {
  const [from, until] = ['2024-01-29', '2024-03-04'];
  const nowMs = Date.parse(until);
  const { fake, database, run, fetch } = await setUp({ nowMs });
  await fetch('1m', from, until);
  await run('archive', '30', '--as-of', '2024-03-04');
  for (const interval of INTERVALS.filter((each) => divides('1m', each))) {
    // Of short intervals only the days around the end of the archive: all five weeks would take long.
    const isShort = maxStepMs(interval) < DAY_MS;
    const [since, end] = isShort ? ['2024-02-01', '2024-02-06'] : [from, until];
    const range = isShort ? { fromMs: Date.parse(since), toMs: Date.parse(end) } : {};
    const { plan, found } = await rolledUp(database, interval, nowMs, range);
    expect(plan.sources.map((source) => source.interval)).toEqual(['1m']);
    const whole = found.filter((candle) => candle.parts === candle.wantedParts);
    const wanted = (await published(fake, interval, since, end)).slice(0, whole.length);
    expectSameRows(whole.map(asRow), wanted);
    expect(whole.length).toBeGreaterThanOrEqual(found.length - 1);
    // The range begins within candles of 3d and 1M, and ends within one of 1M, which is still forming.
    expect([interval, found.at(-1)!.closeMs]).toEqual([
      interval,
      interval === '1M' ? Date.UTC(2024, 2, 1) - 1 : whole.at(-1)!.closeMs,
    ]);
  }
});

test('divides(): 2h divides 4h, 3d not 1w, and only 1d or less 1M', () => {
  expect(INTERVALS.filter((part) => divides(part, '1M'))).toEqual([
    ...INTERVALS.slice(0, INTERVALS.indexOf('1d') + 1),
    '1M',
  ]);
  expect(INTERVALS.filter((part) => divides(part, '1w')).slice(-2)).toEqual(['1d', '1w']);
  expect(INTERVALS.filter((part) => divides(part, '3d')).slice(-2)).toEqual(['1d', '3d']);
  expect(divides('2h', '4h')).toBe(true);
  expect(divides('3m', '5m')).toBe(false);
  expect(divides('4h', '6h')).toBe(false);
});

test('candles: marks incomplete candles, omits missing and forming ones', async () => {
  const { database, fetch, print, json } = await setUp({ nowMs: Date.UTC(2024, 0, 2, 6, 30) });
  await fetch('1m', '2024-01-01', '2024-01-02T06:30');
  await database.sql`
    delete from klines where open_time >= '2024-01-01 10:30' and open_time < '2024-01-01 12:00'`;
  const day = ['BTC/USDT', '1h', '--from', '2024-01-01T09:00', '--to', '2024-01-01T14:00'];
  const { candles: found, sources } = await json(...day);
  expect(sources.map((source: { interval: string }) => source.interval)).toEqual(['1m']);
  expect(
    found.map((candle: Record<string, unknown>) => [
      candle.open_time,
      candle.parts,
      candle.wanted_parts,
    ]),
  ).toEqual([
    ['2024-01-01T09:00:00Z', 60, 60],
    ['2024-01-01T10:00:00Z', 30, 60],
    ['2024-01-01T12:00:00Z', 60, 60],
    ['2024-01-01T13:00:00Z', 60, 60],
  ]);
  const table = await print(...day);
  expect(table.stdout).toMatch(/2024-01-01 10:00 .* 30 of 60\n/);
  expect(table.stderr).toContain('1 candle is incomplete');
  expect(Math.max(...table.stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);

  // By this machine's clock it is years later, so the last candle is not forming but incomplete.
  const latest = await json('BTC/USDT', '1h', '--limit', '1');
  expect(latest.candles).toMatchObject([{ open_time: '2024-01-02T06:00:00Z', parts: 30 }]);
  const instrument = await bitcoin(database);
  const range = { limit: 1 };
  const nowMs = Date.UTC(2024, 0, 2, 6, 31);
  const plan = await planCandles(database.sql, instrument, '1h', range, nowMs);
  expect(plan.sources.at(-1)?.toMs).toBe(Date.UTC(2024, 0, 2, 6));
});

test('candles --limit: skips gaps; with --from takes the first candles', async () => {
  const { database, fetch, json } = await setUp({ nowMs: Date.UTC(2024, 0, 4) });
  await fetch('1m', '2024-01-01', '2024-01-04');
  await database.sql`
    delete from klines where open_time >= '2024-01-03 02:00' and open_time < '2024-01-03 22:00'`;
  const times = async (...words: string[]) =>
    (await json('BTC/USDT', '1h', '--limit', '4', ...words)).candles.map(
      (candle: { open_time: string }) => candle.open_time.slice(5, 13),
    );
  expect(await times()).toEqual(['01-03T00', '01-03T01', '01-03T22', '01-03T23']);
  expect(await times('--from', '2024-01-03T00:30')).toEqual(['01-03T01', '01-03T22', '01-03T23']);
  expect(await times('--from', '2024-01-01')).toEqual([
    '01-01T00',
    '01-01T01',
    '01-01T02',
    '01-01T03',
  ]);
  expect(await times('--to', '2024-01-02')).toEqual([
    '01-01T20',
    '01-01T21',
    '01-01T22',
    '01-01T23',
  ]);
});

test('candles --limit: reaches back across years and past the first candle', async () => {
  const { fetch, json } = await setUp({ nowMs: Date.UTC(2024, 0, 4) });
  await fetch('1h', '2020-03-01', '2020-03-03');
  await fetch('1h', '2024-01-01', '2024-01-02');
  const times = async (...words: string[]) =>
    (await json('BTC/USDT', ...words)).candles.map((candle: { open_time: string }) =>
      candle.open_time.slice(0, 13),
    );
  const latest = await times('1h', '--limit', '30');
  expect(latest).toHaveLength(30);
  expect([latest[0], latest[5], latest[6]]).toEqual([
    '2020-03-02T18',
    '2020-03-02T23',
    '2024-01-01T00',
  ]);
  expect(await times('1h', '--limit', '73')).toHaveLength(72);
  expect(await times('1d', '--limit', '2')).toEqual(['2020-03-02T00', '2024-01-01T00']);
  expect(await times('1M', '--limit', '9999999')).toEqual(['2020-03-01T00', '2024-01-01T00']);
});

test('candles: reads the requested interval if complete, with equal results', async () => {
  const nowMs = Date.UTC(2024, 0, 21);
  const { database, fetch } = await setUp({ nowMs });
  await fetch('1m', '2024-01-10', '2024-01-21');
  const rolled = await rolledUp(database, '1h', nowMs);
  expect(rolled.plan.sources).toMatchObject([{ interval: '1m' }]);
  await fetch('1h', '2024-01-10', '2024-01-21');
  const stored = await rolledUp(database, '1h', nowMs);
  expect(stored.plan.sources).toMatchObject([{ interval: '1h' }]);
  expectSameRows(stored.found.map(asRow), rolled.found.map(asRow));

  await database.sql`delete from klines where interval = '1h' and open_time = '2024-01-15 05:00'`;
  const incomplete = await rolledUp(database, '1h', nowMs);
  expect(incomplete.plan.sources).toMatchObject([{ interval: '1m' }]);
  expectSameRows(incomplete.found.map(asRow), rolled.found.map(asRow));
});

test('storedSeries(): sorts by interval whatever join PostgreSQL chooses', async () => {
  const { database, fetch } = await setUp({ nowMs: Date.UTC(2024, 0, 3) });
  for (const interval of ['1h', '30m', '1m'] as const)
    await fetch(interval, '2024-01-02', '2024-01-03');
  const instrument = await bitcoin(database);
  for (const join of ['nestloop', 'hashjoin', 'mergejoin']) {
    await database.sql.begin(async (tx) => {
      await tx.unsafe(`
        set local enable_nestloop = off; set local enable_hashjoin = off; set local enable_mergejoin = off;
        set local enable_${join} = on`);
      const series = await storedSeries(tx, instrument);
      expect(series.map(({ interval }) => interval)).toEqual(['1m', '30m', '1h']);
    });
  }
});

test('candles: reads each span from the shortest interval stored there', async () => {
  const [from, until] = ['2024-01-01', '2024-01-21'];
  const nowMs = Date.parse(until);
  const { fake, database, fetch } = await setUp({ nowMs });
  await fetch('1h', from, '2024-01-16');
  await fetch('1m', '2024-01-10T06:00', until);
  const { plan, found } = await rolledUp(database, '4h', nowMs);
  expect(plan.sources).toEqual([
    { interval: '1h', fromMs: Date.parse(from), toMs: Date.UTC(2024, 0, 10, 8) },
    { interval: '1m', fromMs: Date.UTC(2024, 0, 10, 8), toMs: nowMs },
  ]);
  expectSameRows(found.map(asRow), await published(fake, '4h', from, until));
  expect(found.every((candle) => candle.parts === candle.wantedParts)).toBe(true);
});

test('candles --format: csv and ndjson have every field exactly', async () => {
  const { fetch, print } = await setUp({ nowMs: Date.UTC(2024, 0, 2) });
  await fetch('1m', '2024-01-01', '2024-01-02');
  const words = ['btcusdt', '8h', '--from', '2024-01-01', '--format'];
  const lines = (await print(...words, 'ndjson')).stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const [head, ...rows] = (await print(...words, 'csv')).stdout.trim().split('\n');
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatchObject({
    open_time: '2024-01-01T00:00:00Z',
    close_time: '2024-01-01T07:59:59.999Z',
    open_price: expect.stringMatching(/^\d+\.\d{8}$/),
    trades_count: expect.any(Number),
    parts: 480,
    wanted_parts: 480,
  });
  expect(head).toBe(Object.keys(lines[0]).join(','));
  expect(rows).toEqual(lines.map((line) => Object.values(line).join(',')));
});

test('candles | head: exits with 0 and stops reading', async () => {
  const { database, env, fetch } = await setUp({ nowMs: Date.UTC(2024, 0, 12) });
  await fetch('1m', '2024-01-01', '2024-01-12');
  const words = ['BTC/USDT', '1m', '--from', '2024-01-01', '--format', 'csv'];
  const running = startScript('candles', words, env);
  const { stdout } = running.process;
  const seen = new Promise<void>((settle) => {
    stdout!.once('data', () => {
      stdout!.destroy();
      settle();
    });
  });
  await seen;
  const [exitCode] = await once(running.process, 'exit');
  expect(exitCode).toBe(EXIT.done);
  const [run] = await database.sql`select outcome, counts from runs where verb = 'candles'`;
  // Counts are only recorded after reading all of them.
  expect(run).toEqual({ outcome: 'done', counts: {} });
});

test('candles(): throws if the server disappears while reading', async () => {
  const { database, fetch } = await setUp({ nowMs: Date.UTC(2024, 0, 11) });
  await fetch('1m', '2024-01-01', '2024-01-11');
  const reading = candles(database.sql, 'BTC/USDT', '1m');
  await reading.next();
  const loss = disconnected(database.sql);
  const gone = new Promise((settle) => loss.addEventListener('abort', settle));
  const admin = database.openSession();
  await admin`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`;
  // The loss is noticed between two reads as well.
  await gone;
  const readOn = async () => {
    for await (const _ of reading);
  };
  await expect(readOn()).rejects.toThrow();
});

test.each([
  [[], 'SYMBOL is missing. Expected a symbol such as BTC/USDT.'],
  [['BTC/USDT'], 'INTERVAL is missing. Expected 1s, 1m, 3m'],
  [['BTC/USDT', '7m'], 'INTERVAL is "7m". Expected 1s, 1m, 3m'],
  [['BTC/USDT', '1h', '2h'], 'Unexpected argument "2h"'],
  [['BTC/USDT,ETH/USDT', '1h'], 'more than one symbol'],
  [['BTC/USDT', '1h', '--format', 'xml'], '--format is "xml". Expected table, csv, or ndjson.'],
  [['BTC/USDT', '1h', '--from', '2024-01-02', '--to', '2024-01-01'], 'is not before --to'],
] as const)('candles %j: exits with 64', async (words, found) => {
  const result = await runScript('candles', words);
  expect(result.exitCode).toBe(EXIT.usage);
  expect(result.stderr).toContain(found);
});

test('candles: names the stored intervals if none adds up', async () => {
  const { fetch, print } = await setUp({ nowMs: Date.UTC(2024, 0, 11) });
  expect((await print('ETH/USDT', '1h')).exitCode).toBe(EXIT.data);
  await fetch('1d', '2024-01-01', '2024-01-11');
  const result = await print('BTC/USDT', '1h');
  expect(result.exitCode).toBe(EXIT.data);
  expect(result.stderr).toContain(
    'Cannot read 1h candles of BTC/USDT: none of the stored intervals (1d) adds up to 1h.',
  );
});
