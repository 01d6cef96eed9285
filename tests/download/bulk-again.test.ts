import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import { startStore } from '../support/store.ts';

/** A store with the month file of January 2024, from which candles were deleted that REST does not have. */
async function startWithHole(interval: '1h' | '3d' | '1w' | '1M', from: string, to: string) {
  const store = await startStore({ nowMs: Date.parse('2024-04-01') });
  const { fake, sql, run } = store;
  const since = '2023-11-01';
  for (const month of ['2023-12', '2024-01', '2024-02']) await publish(fake, month, { interval });
  const fetch = async (...words: string[]) => {
    const range = ['--since', since, '--until', '2024-03-01', '--json'];
    const result = await run(
      'fetch-history',
      'BTC/USDT',
      '--interval',
      interval,
      ...range,
      ...words,
    );
    return JSON.parse(result.stdout);
  };
  await fetch();
  const symbol = fake.symbols.find((each) => each.market === 'spot' && each.symbol === 'BTCUSDT')!;
  symbol.gaps = [{ fromMs: Date.parse(from), toMs: Date.parse(to) }];
  const countStored = async () => (await sql`select from klines`).length;
  const stored = await countStored();
  const deleted = await sql`delete from klines where open_time >= ${from} and open_time < ${to}`;
  fake.requests = [];
  const verify = async (...words: string[]) => {
    const range = ['--to', '2024-03-01', '--json'];
    const { exitCode, stdout } = await run('verify-integrity', ...range, ...words);
    const { findings, repaired } = JSON.parse(stdout);
    const checks: string[] = findings.map((each: { check: string }) => each.check);
    const found = checks.filter((check) => check !== 'corrected');
    return { exitCode, found, repaired };
  };
  return { ...store, fetch, verify, stored, countStored, deleted: deleted.count };
}

test('verify --repair: fills a hole from the month file that was loaded', async () => {
  const store = await startWithHole('1h', '2024-01-10Z', '2024-01-12Z');
  const { fake, sql, verify, stored, countStored } = store;
  expect(store.deleted).toBe(48);
  const repaired = await verify('--repair');
  expect(repaired).toMatchObject({ exitCode: EXIT.done, found: [], repaired: [{ filled: 48 }] });
  expect(await countStored()).toBe(stored);
  expect(await sql`select from confirmed_gaps where from_time > '2024-01-01'`).toHaveLength(0);
  expect(fake.fileRequests()).toEqual(['BTCUSDT-1h-2024-01.zip']);

  // Also where an earlier version took the hole for a gap of the exchange.
  await sql`delete from klines where open_time >= '2024-01-10' and open_time < '2024-01-12'`;
  await sql`
    insert into confirmed_gaps (instrument_id, interval, from_time, to_time)
    select id, '1h', '2024-01-10', '2024-01-12' from instruments`;
  expect((await verify()).found).toContain('loaded-file');
  expect(await verify('--repair')).toMatchObject({ exitCode: EXIT.done, found: [] });
  expect(await countStored()).toBe(stored);
});

test('fetch: fills a hole from the file that was loaded, once', async () => {
  const store = await startWithHole('1h', '2024-01-10Z', '2024-01-12Z');
  const { fake, fetch, stored, countStored } = store;
  expect(await fetch()).toMatchObject({ series: [{ inserted: 48 }] });
  expect(await countStored()).toBe(stored);
  fake.requests = [];
  await fetch();
  expect(fake.fileRequests()).toEqual([]);
});

test('fetch: fills a hole in 3d, 1w and 1M from the month file', async () => {
  const holes = [
    ['3d', '2024-01-10Z', '2024-01-12Z'],
    ['1w', '2024-01-15Z', '2024-01-16Z'],
    ['1M', '2024-01-01Z', '2024-01-02Z'],
  ] as const;
  for (const [interval, from, to] of holes) {
    const { sql, fetch, stored, countStored, deleted } = await startWithHole(interval, from, to);
    expect(deleted).toBe(1);
    await fetch();
    expect([interval, await countStored()]).toEqual([interval, stored]);
    // A month that was not loaded yet has it, too.
    await sql`delete from klines where open_time >= ${from} and open_time < ${to}`;
    await sql`delete from loaded_files`;
    await fetch();
    expect([interval, await countStored()]).toEqual([interval, stored]);
  }
});
