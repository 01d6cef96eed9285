import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { FakeOptions } from '../support/fake-binance/server.ts';
import { defaultSymbols } from '../support/fake-binance/symbols.ts';
import { runScript } from '../support/script.ts';
import { startStore } from '../support/store.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

async function setUp(options: FakeOptions = {}) {
  const { fake, database, env } = await startStore({ nowMs: NOW, ...options });
  const update = (...words: string[]) => runScript('update-klines', words, env);
  const stored = async (symbol: string, interval: '1m' | '1h') =>
    (await storedRows(database.sql, 'spot', symbol, interval)).rows;
  /** All closed candles of BTCUSDT from a time on. */
  const closed = async (interval: '1m' | '1h', fromMs: number) =>
    expectedRows(await fake.candles('spot', 'BTCUSDT', interval, fromMs, fake.nowMs!), fake.nowMs!);
  return { fake, sql: database.sql, database, env, update, stored, closed };
}

test('update: begins a new series with the latest --limit closed candles', async () => {
  const { update, stored, closed } = await setUp();
  const result = await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '20');
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stderr).toContain('[1/1] BTC/USDT 1h: +20');
  expectSameRows(await stored('BTC/USDT', '1h'), await closed('1h', NOW - 20.6 * HOUR));
});

test('update: leaves no hole, however long ago the last run was', async () => {
  const { fake, update, stored, closed } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1m', '--limit', '2000');
  const fromMs = NOW - (NOW % MINUTE) - 2000 * MINUTE;
  expect(await stored('BTC/USDT', '1m')).toHaveLength(2000);
  fake.nowMs = NOW + 3 * 24 * HOUR;
  const result = await update('--limit', '5');
  expect(result.stderr).toContain(`BTC/USDT 1m: +${3 * 1440}`);
  expectSameRows(await stored('BTC/USDT', '1m'), await closed('1m', fromMs));
});

test('update: sends one request for a series without new candles', async () => {
  const { fake, update } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h');
  fake.requests = [];
  const result = await update();
  expect(result.stdout).toContain('1 series up to date: +0 candles, 0 corrected');
  expect(fake.klinesRequests()).toMatchObject([{ startTime: Date.UTC(2024, 2, 10, 10), limit: 2 }]);
});

test('update: corrects the last two candles, and counts them', async () => {
  const { fake, update, stored, closed } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h');
  const last = Date.UTC(2024, 2, 10, 11);
  fake.revise('spot', 'BTCUSDT', last);
  fake.revise('spot', 'BTCUSDT', last - HOUR);
  const result = await update('--json');
  expect(JSON.parse(result.stdout)).toMatchObject({ inserted: 0, revised: 2 });
  expectSameRows(await stored('BTC/USDT', '1h'), await closed('1h', NOW - 100.6 * HOUR));
  expect(JSON.parse((await update('--json')).stdout)).toMatchObject({ inserted: 0, revised: 0 });
});

test('update: fills holes among the latest --limit candles, but not older ones', async () => {
  const { sql, update, stored, closed } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '60');
  await sql`delete from klines where open_time in ('2024-03-10 02:00Z', '2024-03-09 20:00Z', '2024-03-08 12:00Z')`;
  const result = await update('--limit', '30');
  expect(result.stderr).toContain('BTC/USDT 1h: +2');
  const wanted = await closed('1h', NOW - 60.6 * HOUR);
  const hole = String(Date.UTC(2024, 2, 8, 12));
  expectSameRows(
    await stored('BTC/USDT', '1h'),
    wanted.filter((row) => !row.startsWith(hole)),
  );
});

test('update: a larger --limit reaches further back, up to the listing', async () => {
  const listedMs = Date.UTC(2024, 2, 8);
  const { fake, update } = await setUp({
    symbols: [{ market: 'spot', symbol: 'BTCUSDT', base: 'BTC', quote: 'USDT', listedMs }],
  });
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '10');
  expect((await update('--limit', '500')).stderr).toContain('BTC/USDT 1h: +50');
  fake.requests = [];
  await update('--limit', '500');
  expect(fake.klinesRequests()).toHaveLength(1);
});

test('update: follows all active instruments, and ends delisted ones once', async () => {
  const { fake, env, update } = await setUp();
  await update('--symbol', 'BTC/USDT,ETH/USDT,BNB/USDT', '--interval', '1h');
  fake.symbols.find((each) => each.symbol === 'BNBUSDT' && each.market === 'spot')!.status =
    'BREAK';
  await runScript('sync-instruments', [], env);
  fake.nowMs = NOW + HOUR;
  expect((await update()).stdout).toContain('3 series up to date: +3 candles');
  fake.nowMs = NOW + 2 * HOUR;
  const result = await update();
  expect(result.stdout).toContain('2 series up to date: +2 candles');
  expect(result.stderr).not.toContain('BNB');
});

test('update: completes the others when some fail, and names those', async () => {
  const { fake, sql, env, update } = await setUp({ symbols: defaultSymbols(16) });
  await runScript('sync-instruments', ['--market', 'usdm'], env);
  const broken = ['COIN011USDT', 'COIN012USDT', 'COIN013USDT'];
  for (const symbol of broken) fake.fail({ kind: 'invalid-symbol', symbol, times: 99 });
  const result = await update('--market', 'usdm', '--interval', '4h', '--limit', '200');
  expect(result.exitCode).toBe(EXIT.failed);
  expect(result.stdout).toContain('3 FAILED:');
  for (const symbol of broken)
    expect(result.stdout).toContain(symbol.replace('USDT', '/USDT:USDT'));
  const complete = await sql`
    select instrument_id from klines where interval = '4h' group by 1 having count(*) = 200`;
  const [registered] = await sql`select count(*)::int as symbols from instruments`;
  expect(complete).toHaveLength(registered!.symbols - 3);
});

test('--force: replaces stored candles in one step', async () => {
  const { fake, sql, update, stored, closed } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '1500');
  await sql`update klines set volume = volume + 1 where open_time < '2024-02-01'`;
  await sql`delete from klines where open_time = '2024-02-05'`;
  fake.revise('spot', 'BTCUSDT', Date.UTC(2024, 1, 20));
  const result = await update('--force', '--json');
  expect(JSON.parse(result.stdout)).toMatchObject({ inserted: 1 });
  expectSameRows(await stored('BTC/USDT', '1h'), await closed('1h', NOW - 1500.6 * HOUR));
});

test('--force: leaves candles before --limit unchanged', async () => {
  const { sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '50');
  await sql`update klines set volume = 7`;
  const result = await update('--force', '--limit', '10', '--json');
  expect(JSON.parse(result.stdout)).toMatchObject({ inserted: 0, revised: 10 });
  const [left] = await sql`select count(*)::int as candles from klines where volume = 7`;
  expect(left!.candles).toBe(40);
});

test.each([
  ['a page that fails', { kind: 'invalid-symbol' as const }],
  ['a shorter answer than what is stored', { kind: 'empty' as const }],
])('--force: changes nothing after %s', async (_, fault) => {
  const { fake, sql, update, stored } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '2500');
  await sql`update klines set volume = volume + 1`;
  const before = await stored('BTC/USDT', '1h');
  const lastPage = Date.UTC(2024, 2, 9);
  fake.revise('spot', 'BTCUSDT', lastPage);
  // The first two of its three pages arrive.
  fake.fail({ kind: 'garbage', mutate: (rows) => rows, times: 2 });
  fake.fail({ ...fault, times: 99 });
  const result = await update('--force');
  expect(result.exitCode).not.toBe(EXIT.done);
  if (fault.kind === 'empty') expect(result.stderr).toContain('of the 2500 candles stored');
  expectSameRows(await stored('BTC/USDT', '1h'), before);
});

test('update: never writes an archived candle, even with --force', async () => {
  const { sql, env, update } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '2000');
  await runScript('archive', ['30', '--as-of', '2024-03-10'], env);
  const [before] = await sql`select count(*)::int as hot from klines`;
  const result = await update('--limit', '2000', '--force', '--json');
  expect(JSON.parse(result.stdout)).toMatchObject({ inserted: 0, revised: 0 });
  const [after] = await sql`select count(*)::int as hot from klines`;
  expect(after).toEqual(before);
});

test('update: skips an instrument that another run holds, and ends with 75', async () => {
  const { sql, database, update } = await setUp();
  await update('--symbol', 'BTC/USDT,ETH/USDT', '--interval', '1h');
  const [eth] = await sql`select id from instruments where symbol = 'ETH/USDT'`;
  const other = database.openSession();
  await other`select pg_advisory_lock(lock_class(${0x6b6c}), ${eth!.id})`;
  const result = await update();
  expect(result.exitCode).toBe(EXIT.later);
  expect(result.stdout).toContain('1 series up to date');
  expect(result.stdout).toContain('1 skipped, locked by another run: ETH/USDT');
});

test('update: names a symbol that is not registered', async () => {
  const { update } = await setUp();
  const unknown = await update('--symbol', 'BTC/USDT');
  expect(unknown.exitCode).toBe(EXIT.data);
  expect(unknown.stderr).toContain('Not registered: BTC/USDT');
});

test('update: updates the other series of an instrument when one fails', async () => {
  const { fake, sql, update } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1m');
  await update('--symbol', 'BTC/USDT', '--interval', '1h');
  // The tables refuse every new 1m candle.
  await sql`alter table klines add constraint no_minutes check (interval <> '1m') not valid`;
  fake.nowMs = NOW + HOUR;
  const result = await update();
  expect(result.exitCode).toBe(EXIT.failed);
  expect(result.stderr).toContain('[1/1] BTC/USDT 1h: +1');
  expect(result.stdout).toMatch(/1 FAILED:\n {2}BTC\/USDT 1m: sql\/store\/merge\.sql.*no_minutes/);
});

test('--force: is refused for a lost last page and for a bad row', async () => {
  const { fake, update, stored } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h', '--limit', '132');
  const before = await stored('BTC/USDT', '1h');
  const lastPageMs = Date.UTC(2024, 1, 1);
  fake.fail({
    kind: 'garbage',
    times: 99,
    mutate: (rows) => (rows.length > 0 && rows[0]![0] > lastPageMs ? [] : rows),
  });
  const lost = await update('--limit', '2100', '--force');
  fake.faults.clear();
  fake.fail({
    kind: 'garbage',
    mutate: (rows) => rows.map((row, at) => (at === 250 ? [row[0], 'NaN', ...row.slice(2)] : row)),
  });
  const bad = await update('--limit', '300', '--force');
  expect([lost.exitCode, bad.exitCode]).toEqual([EXIT.failed, EXIT.failed]);
  expect(bad.stderr).toContain('is missing 1 of the 132 candles stored');
  expectSameRows(await stored('BTC/USDT', '1h'), before);
});

test('update: requests a damaged or empty page again', async () => {
  const { fake, update, stored, closed } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1m', '--limit', '10');
  fake.nowMs = NOW + 2 * 24 * HOUR;
  fake.fail({
    kind: 'garbage',
    mutate: (rows) => rows.map((row) => [row[0], 'x', ...row.slice(2)]),
  });
  fake.fail({ kind: 'empty' });
  expect((await update()).exitCode).toBe(EXIT.done);
  expectSameRows(
    await stored('BTC/USDT', '1m'),
    await closed('1m', NOW - (NOW % MINUTE) - 10 * MINUTE),
  );
});

test('update: fails when rows are no candles twice', async () => {
  const { fake, update } = await setUp();
  await update('--symbol', 'BTC/USDT', '--interval', '1h');
  fake.nowMs = NOW + 5 * HOUR;
  fake.fail({
    kind: 'garbage',
    times: 99,
    mutate: (rows) => rows.map((row) => [row[0], 'x', ...row.slice(2)]),
  });
  const result = await update();
  expect(result.exitCode).toBe(EXIT.data);
  expect(result.stderr).toContain('rows that are not candles, even when they were requested again');
});

test('update: updates one market while the other is down', async () => {
  const { env, update, fake } = await setUp();
  await update('--symbol', 'BTC/USDT,BTC/USDT:USDT', '--interval', '1h');
  fake.nowMs = NOW + HOUR;
  const result = await runScript('update-klines', [], {
    ...env,
    BINANCE_USDM_URL: 'http://127.0.0.1:1',
  });
  expect(result.exitCode).toBe(EXIT.failed);
  expect(result.stdout).toContain('1 series up to date: +1 candles');
  expect(result.stdout).toContain('BTC/USDT:USDT: Cannot reach Binance');
});

test.each([
  ['1M', '10000000'],
  ['1d', '10000000'],
])(
  'update: a --limit of %s candles beyond all history ends at the listing',
  async (interval, limit) => {
    const { fake, sql, update } = await setUp();
    expect(
      (await update('--symbol', 'BTC/USDT', '--interval', interval, '--limit', limit)).exitCode,
    ).toBe(EXIT.done);
    const [first] = await sql`select min(open_time) as open_time from klines`;
    expect(first!.open_time).toEqual(new Date('2019-01-01'));
    expect(
      Math.min(...fake.klinesRequests().map((request) => request.startTime!)),
    ).toBeGreaterThanOrEqual(0);
  },
);

test('update: warns when nothing is stored for the active instruments', async () => {
  const { env, update } = await setUp();
  await runScript('sync-instruments', ['--market', 'usdm'], env);
  const result = await update('--quiet');
  expect(result.stderr).toContain('Nothing is stored for the 8 active instruments');
});
