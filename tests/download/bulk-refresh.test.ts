import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { createSemaphore } from '../../lib/base/parallel.ts';
import { freshDatabase } from '../support/database.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import type { FakeBinance, FakeOptions } from '../support/fake-binance/server.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);

async function setUp(options: FakeOptions = {}) {
  const fake = await startExchange({ nowMs: NOW, ...options });
  const { sql, url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  const load = (since: string, until: string, ...words: string[]) =>
    runScript(
      'fetch-history',
      ['BTC/USDT', '--interval', '1h', '--since', since, '--until', until, ...words],
      env,
    );
  const volumes = async () =>
    (
      await sql`select volume::float8, count(*)::int from all_klines where volume = 777 group by 1`
    )[0]?.count ?? 0;
  return { fake, sql, env, load, volumes };
}

/** Corrects January at the exchange, so that REST has what a republished file has. */
function correct(fake: FakeBinance): void {
  for (let openMs = Date.UTC(2024, 0, 1); openMs < Date.UTC(2024, 1, 1); openMs += 3_600_000)
    fake.oddities.set(openMs, (row) => row.with(5, '777') as RawRow);
}

test('--refresh: corrects the whole file when a part was requested', async () => {
  const { fake, load, volumes } = await setUp();
  await publish(fake, '2024-01');
  await load('2024-01-01', '2024-02-01');
  correct(fake);
  await publish(fake, '2024-01');
  const part = await load('2024-01-15', '2024-02-01', '--refresh');
  expect(part.stdout).toContain('744 corrected');
  expect(await volumes()).toBe(744);
  expect((await load('2024-01-01', '2024-02-01', '--refresh')).stdout).not.toContain('corrected');
});

test('--refresh: keeps stored candles that the new file misses, and warns once', async () => {
  const { fake, sql, load } = await setUp();
  await publish(fake, '2024-01');
  await load('2024-01-01', '2024-02-01');
  await publish(fake, '2024-01', { edit: (rows) => rows.slice(5) });
  const result = await load('2024-01-01', '2024-02-01', '--refresh');
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stderr).toContain(
    'BTCUSDT-1h-2024-01.zip was republished: 5 stored candles are missing in it; they stay.',
  );
  expect(await sql`select 1 from klines`).toHaveLength(744);
  expect((await load('2024-01-01', '2024-02-01', '--refresh')).stderr).toBe('');
});

test('--refresh: leaves archived candles, and warns until they are restored', async () => {
  const { fake, env, load, volumes } = await setUp();
  await publish(fake, '2024-01');
  await load('2024-01-01', '2024-02-01');
  await runScript('archive', ['20', '--as-of', '2024-01-31'], env);
  correct(fake);
  await publish(fake, '2024-01');
  const first = await load('2024-01-01', '2024-02-01', '--refresh');
  expect(first.stdout).toContain('504 corrected');
  const left = '240 candles of its range are archived and stay unchanged; restore them';
  expect(first.stderr).toContain(left);
  expect((await load('2024-01-01', '2024-02-01', '--refresh')).stderr).toContain(left);
  expect(await volumes()).toBe(504);

  const window = ['--from', '2024-01-01', '--to', '2024-02-01'];
  expect((await runScript('restore', ['BTC/USDT', ...window], env)).exitCode).toBe(EXIT.done);
  const last = await load('2024-01-01', '2024-02-01', '--refresh');
  expect(last).toMatchObject({ stderr: '', stdout: expect.stringContaining('240 corrected') });
  expect(await volumes()).toBe(744);
});

test('a daily file: is stored in full when a part was requested', async () => {
  const { fake, load, sql } = await setUp();
  await publish(fake, '2024-01-15');
  await load('2024-01-15', '2024-01-15T18:00Z', '--source', 'bulk');
  const result = await load('2024-01-15', '2024-01-16', '--source', 'bulk');
  expect(result.stdout).not.toContain('not in the bulk files');
  expect(await sql`select 1 from klines`).toHaveLength(24);
});

test('a whole file: adds no candle older than the listing, and no forming one', async () => {
  const listedMs = Date.UTC(2024, 0, 15, 6, 20);
  const symbol = { market: 'spot', symbol: 'BTCUSDT', base: 'BTC', quote: 'USDT' } as const;
  const { fake, sql, env, load } = await setUp({
    nowMs: Date.UTC(2024, 1, 2, 12),
    symbols: [
      { ...symbol, listedMs },
      { ...symbol, symbol: 'ETHUSDT', base: 'ETH' },
    ],
  });
  await publish(fake, '2024-01-15', {
    edit: ([first, ...rows]) => [
      first!.with(0, Date.UTC(2024, 0, 15)).with(6, Date.UTC(2024, 0, 15, 1) - 1) as RawRow,
      first!,
      ...rows,
    ],
  });
  await load('2024-01-15T12:00Z', '2024-01-15T20:00Z', '--source', 'bulk');
  const [day] = await sql`select count(*)::int, min(open_time) as first from klines`;
  expect(day).toEqual({ count: 18, first: new Date('2024-01-15T06:00Z') });

  // The week of January 29 ends on February 4.
  await publish(fake, '2024-01', { symbol: 'ETHUSDT', interval: '1w' });
  const words = ['--interval', '1w', '--since', '2024-01-01', '--until', '2024-02-29'];
  await runScript('fetch-history', ['ETH/USDT', ...words, '--source', 'bulk'], env);
  const weeks = await sql`select open_time from klines where interval = '1w' order by 1`;
  expect(weeks.at(-1)?.open_time).toEqual(new Date('2024-01-22'));
});

test('several series: share the places for files, also when some fail', async () => {
  const names = ['AAA', 'BBB', 'CCC', 'DDD', 'EEE', 'FFF', 'GGG', 'HHH'];
  const { fake, sql, env } = await setUp({
    symbols: names.map((base) => ({
      market: 'spot' as const,
      symbol: `${base}USDT`,
      base,
      quote: 'USDT',
    })),
  });
  for (const name of names)
    for (let day = 1; day <= 9; day++)
      await publish(fake, `2024-01-0${day}`, { symbol: `${name}USDT` });
  await sql`
    create function refuse() returns trigger language plpgsql as $$
    begin
      if new.name < 'EEE' then raise exception 'not this one'; end if;
      return new;
    end $$`;
  await sql`create trigger refuse before insert on loaded_files for each row execute function refuse()`;
  const range = ['--interval', '1h', '--since', '2024-01-01', '--until', '2024-01-10'];
  const symbols = names.map((name) => `${name}/USDT`);
  const words = [...symbols, ...range, '--source', 'bulk', '--concurrency', '8'];
  const result = await runScript('fetch-history', words, env);
  expect(result.exitCode).toBe(EXIT.failed);
  expect(await sql`select 1 from loaded_files`).toHaveLength(4 * 9);
});

test('createSemaphore(): admits in order, and frees the places of aborted callers', async () => {
  const gate = createSemaphore(2);
  const entered: string[] = [];
  const stop = new AbortController();
  const stays = new AbortController().signal;
  const enter = (name: string, signal: AbortSignal) =>
    gate.acquire(signal).then((leave) => {
      entered.push(name);
      return leave;
    });
  const leaveA = await enter('a', stays);
  await enter('b', stop.signal);
  const given = enter('c', stop.signal);
  const d = enter('d', stays);
  const e = enter('e', stays);
  await Promise.resolve();
  expect(entered).toEqual(['a', 'b']);
  stop.abort(new Error('stopped'));
  await expect(given).rejects.toThrow('stopped');
  await d;
  expect(entered).toEqual(['a', 'b', 'd']);
  leaveA();
  leaveA();
  await e;
  let late = false;
  const f = enter('f', stays).then(() => {
    late = true;
  });
  await new Promise((settle) => setImmediate(settle));
  expect(late).toBe(false);
  (await d)();
  await f;
});
