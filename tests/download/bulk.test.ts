import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { helpWith, lockedTransaction, withInstrumentLock } from '../../lib/store/locks.ts';
import { freshDatabase } from '../support/database.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import type { FakeOptions, startFakeBinance } from '../support/fake-binance/server.ts';
import { makeZip } from '../support/fake-binance/zip.ts';
import { serverWithFullDisk } from '../support/full-disk.ts';
import { RECORDINGS, recordedSpans } from '../support/recordings.ts';
import { runScript, startScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const SINCE = '2024-01-01';
const UNTIL = '2024-03-01';

async function setUp(options: FakeOptions = {}) {
  const fake = await startExchange({ nowMs: NOW, ...options });
  const { sql, url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  const load = (...words: string[]) =>
    runScript(
      'fetch-history',
      ['BTC/USDT', '--interval', '1h', '--since', SINCE, '--until', UNTIL, ...words],
      env,
    );
  /** January and February of 2024 are stored to the last digit. */
  const expectComplete = async () => {
    const wanted = await fake.candles(
      'spot',
      'BTCUSDT',
      '1h',
      Date.parse(SINCE),
      Date.parse(UNTIL) - 1,
    );
    expectSameRows(
      (await storedRows(sql, 'spot', 'BTC/USDT', '1h')).rows,
      expectedRows(wanted, NOW),
    );
  };
  const pages = () => fake.klinesRequests().filter((request) => request.interval === '1h');
  return { fake, sql, env, load, expectComplete, pages };
}

/** Of each recorded file all rows are stored, and no others. @returns how many files */
async function expectWholeFiles(sql: postgres.Sql): Promise<number> {
  const files = await sql`
    select f.name, f.rows, count(k.open_time)::int as stored
    from loaded_files f
    left join klines k on k.open_time >= f.from_time and k.open_time < f.to_time
    group by f.name, f.rows`;
  expect(files.map((file) => file.stored)).toEqual(files.map((file) => file.rows));
  const [all] = await sql`select count(*)::int as stored from klines`;
  expect(all?.stored).toBe(files.reduce((sum, file) => sum + file.rows, 0));
  return files.length;
}

test('fetch: loads months from month files exactly, without REST', async () => {
  const { fake, sql, load, expectComplete, pages } = await setUp();
  await publish(fake, '2024-01');
  await publish(fake, '2024-02', { header: true });
  expect((await load()).exitCode).toBe(EXIT.done);
  await expectComplete();
  expect(pages()).toEqual([]);
  const files =
    await sql`select name, rows, length(sha256) as digits from loaded_files order by name`;
  expect(files).toEqual([
    { name: 'BTCUSDT-1h-2024-01.zip', rows: 744, digits: 64 },
    { name: 'BTCUSDT-1h-2024-02.zip', rows: 696, digits: 64 },
  ]);
  fake.requests = [];
  await load();
  expect(fake.fileRequests()).toEqual([]);
});

test('fetch: uses day files for a month without a file, then REST', async () => {
  const { fake, load, expectComplete, pages } = await setUp();
  await publish(fake, '2024-02');
  for (let day = 1; day <= 31; day++) {
    if (day !== 17) await publish(fake, `2024-01-${String(day).padStart(2, '0')}`);
  }
  expect((await load()).exitCode).toBe(EXIT.done);
  await expectComplete();
  expect(pages()).toMatchObject([
    { startTime: Date.UTC(2024, 0, 17), endTime: Date.UTC(2024, 0, 18) - 1 },
  ]);
});

test('fetch: fills an incomplete month file from day files, then from REST', async () => {
  const { fake, load, expectComplete, pages } = await setUp();
  const without =
    (...days: number[]) =>
    (rows: Parameters<NonNullable<Parameters<typeof publish>[2]>['edit'] & object>[0]) =>
      rows.filter((row) => !days.includes(new Date(row[0]).getUTCDate()));
  await publish(fake, '2024-01', { edit: without(10, 20) });
  await publish(fake, '2024-01-10');
  await publish(fake, '2024-01-20', { edit: (rows) => rows.slice(0, 20) });
  await publish(fake, '2024-02');
  await load();
  await expectComplete();
  expect(pages()).toMatchObject([
    { startTime: Date.UTC(2024, 0, 20, 20), endTime: Date.UTC(2024, 0, 21) - 1 },
  ]);
});

test('fetch: confirms gaps of REST, and requests them again only on demand', async () => {
  const gap = { fromMs: Date.UTC(2024, 0, 5, 3), toMs: Date.UTC(2024, 0, 5, 9) };
  const { fake, sql, load, pages } = await setUp({
    symbols: [{ market: 'spot', symbol: 'BTCUSDT', base: 'BTC', quote: 'USDT', gaps: [gap] }],
  });
  await publish(fake, '2024-01');
  await publish(fake, '2024-02');
  expect((await load()).stdout).toContain('6 not at the exchange');
  // Twice, and once to see whether the exchange sends anything at all.
  expect(pages()).toHaveLength(3);
  expect(await sql`select from_time, to_time from confirmed_gaps`).toEqual([
    { from_time: new Date(gap.fromMs), to_time: new Date(gap.toMs) },
  ]);
  await load();
  expect(pages()).toHaveLength(3);
  fake.symbols[0]!.gaps = [];
  expect((await load('--recheck-gaps')).stdout).toContain('+6 candles');
  expect(await sql`select 1 from confirmed_gaps`).toHaveLength(0);
});

test.each([
  [
    'a stale checksum',
    async (fake: Fake, path: string) => fake.bulk.put(path, fake.bulk.get(path)!, '0'.repeat(64)),
    'CHECKSUM, twice',
  ],
  [
    'a zip that is cut off',
    async (fake: Fake, path: string) => fake.bulk.put(path, fake.bulk.get(path)!.subarray(0, 4000)),
    'not a valid zip',
  ],
  [
    'a size that is a lie',
    async (fake: Fake) =>
      publish(fake, '2024-01', { members: ([one]) => [{ ...one!, claimedSize: 100 }] }),
    'not a valid zip',
  ],
  [
    'a size beyond all candles',
    async (fake: Fake) =>
      publish(fake, '2024-01', { members: ([one]) => [{ ...one!, claimedSize: 2 ** 31 }] }),
    'bytes of CSV',
  ],
  [
    'a second member',
    async (fake: Fake) =>
      publish(fake, '2024-01', { members: ([one]) => [one!, { ...one!, name: 'b.csv' }] }),
    '2 members, wanted one',
  ],
  [
    'a member of another name',
    async (fake: Fake) =>
      publish(fake, '2024-01', {
        members: ([one]) => [{ ...one!, name: 'BTCUSDT-1h-2024-02.csv' }],
      }),
    'wanted BTCUSDT-1h-2024-01.csv',
  ],
  [
    'something that is no zip',
    async (fake: Fake, path: string) => fake.bulk.put(path, Buffer.from('<html>')),
    'not a valid zip',
  ],
  [
    'columns in another order',
    async (fake: Fake) =>
      publish(fake, '2024-01', {
        header: true,
        text: (csv) => csv.replace('open,high,low', 'open,low,high'),
      }),
    'its columns are open_time,open,low,high',
  ],
  [
    'no CHECKSUM',
    async (fake: Fake, path: string) => fake.bulk.removeOnly(`${path}.CHECKSUM`),
    'it cannot be verified, because it has no CHECKSUM',
  ],
])('fetch: stores nothing of a file with %s', async (_, damage, said) => {
  const { fake, sql, load, expectComplete } = await setUp();
  const path = await publish(fake, '2024-01');
  await publish(fake, '2024-02');
  await damage(fake, path);
  const result = await load();
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stderr).toContain(`BTCUSDT-1h-2024-01.zip: `);
  expect(result.stderr).toContain(said);
  await expectComplete();
  expect(await sql`select name from loaded_files`).toEqual([{ name: 'BTCUSDT-1h-2024-02.zip' }]);
});

type Fake = Awaited<ReturnType<typeof startFakeBinance>>;

test('fetch: takes a CHECKSUM without its file for no file', async () => {
  const { fake, load, expectComplete } = await setUp();
  fake.bulk.removeOnly(await publish(fake, '2024-01'));
  await publish(fake, '2024-02');
  const result = await load();
  expect(result).toMatchObject({
    exitCode: EXIT.done,
    stderr: expect.not.stringContaining('zip:'),
  });
  await expectComplete();
});

test.each([
  ['a byte order mark', { text: (csv: string) => `\ufeff${csv}` }],
  ['a byte order mark and a header', { header: true, text: (csv: string) => `\ufeff${csv}` }],
  ['a header in quotes', { header: true, text: (csv: string) => csv.replace(/\w+/, '"$&"') }],
  ['line ends of Windows', { header: true, text: (csv: string) => csv.replaceAll('\n', '\r\n') }],
])('fetch: loads every candle of files with %s', async (_, options) => {
  const { fake, sql, load, expectComplete, pages } = await setUp();
  await publish(fake, '2024-01', options);
  await publish(fake, '2024-02', options);
  await load();
  await expectComplete();
  expect(pages()).toEqual([]);
  expect(await sql`select raw from rejected_klines`).toEqual([]);
});

test.each([
  ['a candle without a time', 'x,1,1,1,1,1,x,1,1,1,1,0', 'open_time is not a time'],
  ['a text', 'Not found', 'not 12 fields'],
  ['names of other columns', 'time,o,h,l,c,v,end,q,n,tb,tq,ignore', 'open_time is not a time'],
])('fetch: rejects and counts a first line that is %s', async (_, line, reason) => {
  const { fake, sql, load, expectComplete } = await setUp();
  await publish(fake, '2024-01', { text: (csv) => `${line}\n${csv}` });
  await publish(fake, '2024-02');
  expect((await load()).stdout).toContain('1 rejected (see rejected_klines)');
  await expectComplete();
  expect(await sql`select source, raw, reason from rejected_klines`).toEqual([
    { source: 'BTCUSDT-1h-2024-01.zip', raw: line, reason: expect.stringContaining(reason) },
  ]);
});

test('fetch: loads nothing from a file that has only a header', async () => {
  const { fake, load, expectComplete } = await setUp();
  await publish(fake, '2024-01', { header: true, text: (csv) => csv.split('\n', 1)[0]! });
  await publish(fake, '2024-02');
  expect((await load()).exitCode).toBe(EXIT.done);
  await expectComplete();
});

test('fetch: downloads file and checksum again after a mismatch', async () => {
  const { fake, load, expectComplete, pages } = await setUp();
  const path = await publish(fake, '2024-01');
  await publish(fake, '2024-02');
  const good = fake.bulk.get(path)!;
  fake.bulk.put(path, makeZip([]), '0'.repeat(64));
  const republish = setInterval(() => {
    if (fake.fileRequests().includes('BTCUSDT-1h-2024-01.zip')) fake.bulk.put(path, good);
  }, 1);
  const result = await load();
  clearInterval(republish);
  expect(result.stderr).not.toContain('CHECKSUM');
  await expectComplete();
  expect(pages()).toEqual([]);
});

test('fetch: stores a repeated row once, and rejects a row of another month', async () => {
  const { fake, sql, load, expectComplete } = await setUp();
  await publish(fake, '2024-01', { edit: (rows) => [...rows.slice(0, 50), ...rows.slice(40)] });
  const [foreign] = await fake.candles(
    'spot',
    'BTCUSDT',
    '1h',
    Date.UTC(2024, 0, 5),
    Date.UTC(2024, 0, 5),
  );
  await publish(fake, '2024-02', { edit: (rows) => [...rows, foreign!] });
  await load();
  await expectComplete();
  const rejected = await sql`select source, reason from rejected_klines`;
  expect(rejected).toEqual([
    {
      source: 'BTCUSDT-1h-2024-02.zip',
      reason: 'open_time 2024-01-05T00:00:00Z is outside the requested range',
    },
  ]);
});

test('fetch: reads milliseconds up to 2024 and microseconds from 2025', async () => {
  const { fake, sql, env } = await setUp({ nowMs: Date.UTC(2025, 2, 10) });
  await publish(fake, '2024-12');
  await publish(fake, '2025-01', { micros: true });
  await runScript(
    'fetch-history',
    ['BTC/USDT', '--interval', '1h', '--since', '2024-12-01', '--until', '2025-02-01'],
    env,
  );
  const wanted = await fake.candles(
    'spot',
    'BTCUSDT',
    '1h',
    Date.UTC(2024, 11, 1),
    Date.UTC(2025, 1, 1) - 1,
  );
  expectSameRows(
    (await storedRows(sql, 'spot', 'BTC/USDT', '1h')).rows,
    expectedRows(wanted, Date.UTC(2025, 2, 10)),
  );
});

test('fetch: finds files of 1mo, of names that are not ASCII, and of usdm', async () => {
  const { fake, sql, env } = await setUp();
  await publish(fake, '2024-01', { interval: '1M' });
  await publish(fake, '2024-01', { symbol: '币安人生USDT' });
  await publish(fake, '2024-01', { market: 'usdm', symbol: '1000SHIBUSDT', header: true });
  const range = ['--since', '2024-01-01', '--until', '2024-02-01', '--source', 'bulk'];
  await runScript('fetch-history', ['BTC/USDT', '--interval', '1M', ...range], env);
  await runScript(
    'fetch-history',
    ['币安人生/USDT', '1000SHIB/USDT:USDT', '--interval', '1h', ...range],
    env,
  );
  const files = await sql`select name, rows from loaded_files order by rows, name`;
  expect(files).toEqual([
    { name: 'BTCUSDT-1mo-2024-01.zip', rows: 1 },
    { name: '1000SHIBUSDT-1h-2024-01.zip', rows: 744 },
    { name: '币安人生USDT-1h-2024-01.zip', rows: 744 },
  ]);
});

test('--source: bulk sends no REST request, rest loads no file', async () => {
  const { fake, load, expectComplete, pages } = await setUp();
  await publish(fake, '2024-01');
  expect((await load('--source', 'bulk')).stdout).toContain('+744 candles');
  expect(pages()).toEqual([]);
  fake.requests = [];
  await load('--source', 'rest');
  expect(fake.fileRequests()).toEqual([]);
  await expectComplete();
});

test('--refresh: loads a file again only when its checksum has changed', async () => {
  const { fake, load, sql } = await setUp();
  await publish(fake, '2024-01');
  await publish(fake, '2024-02');
  await load();
  const february = [Date.UTC(2024, 1, 1), Date.UTC(2024, 2, 1) - 1] as const;
  for (const [openMs] of await fake.candles('spot', 'BTCUSDT', '1h', ...february))
    fake.oddities.set(openMs, (row) => row.with(5, '1.50000000') as RawRow);
  await publish(fake, '2024-02');
  fake.requests = [];
  const result = await load('--refresh');
  expect(result.stdout).toContain('696 corrected');
  expect(fake.fileRequests()).toEqual(['BTCUSDT-1h-2024-02.zip']);
  expect(await sql`select distinct volume from klines where open_time >= '2024-02-01'`).toEqual([
    { volume: '1.50000000' },
  ]);
});

test('fetch: does not load archived months again', async () => {
  const { fake, load, env, expectComplete } = await setUp();
  await publish(fake, '2024-01');
  await publish(fake, '2024-02');
  await load();
  await runScript('archive', ['20', '--as-of', '2024-03-01'], env);
  fake.requests = [];
  expect((await load()).stdout).toContain('+0 candles');
  expect(fake.fileRequests()).toEqual([]);
  await expectComplete();
});

test('fetch: continues with the remaining files after SIGKILL', async () => {
  const { fake, sql, env, load, expectComplete } = await setUp();
  for (let day = 1; day <= 60; day++) {
    const date = new Date(Date.UTC(2024, 0, day)).toISOString().slice(0, 10);
    await publish(fake, date);
  }
  const words = ['BTC/USDT', '--interval', '1h', '--since', SINCE, '--until', UNTIL];
  const running = startScript('fetch-history', words, env);
  while ((await sql`select 1 from loaded_files`).length < 5) await sleep(5);
  running.process.kill('SIGKILL');
  await running.result;
  await sleep(200);
  const loaded = (await sql`select name from loaded_files`).map((row) => row.name);
  fake.requests = [];
  await load();
  expect(fake.fileRequests().filter((name) => loaded.includes(name))).toEqual([]);
  await expectComplete();
});

test('fetch: leaves no file half-loaded when its connection is lost', async () => {
  const { fake, sql, load, expectComplete } = await setUp();
  await publish(fake, '2024-01');
  await publish(fake, '2024-02');
  await sql`
    create function cut() returns trigger language plpgsql as $$
    begin
      if new.open_time = '2024-02-10' and not exists (select from loaded_files where name = 'done') then
        perform pg_terminate_backend(pg_backend_pid());
      end if;
      return new;
    end $$`;
  await sql`create trigger cut before insert on klines for each row execute function cut()`;
  const failed = await load();
  expect(failed.exitCode).not.toBe(EXIT.done);
  await expectWholeFiles(sql);
  expect(await sql`select 1 from klines where open_time >= '2024-02-01'`).toHaveLength(0);
  await sql`drop trigger cut on klines`;
  await load();
  await expectComplete();
});

test('fetch: leaves no file half-loaded when the disk is full', async () => {
  const fake = await startExchange({ nowMs: NOW });
  const { sql, url } = await serverWithFullDisk();
  // The fourth month does not fit.
  for (let month = 1; month <= 4; month++)
    await publish(fake, `2023-0${month}`, { interval: '1m' });
  const words = ['BTC/USDT', '--since', '2023-01-01', '--until', '2023-05-01', '--source', 'bulk'];
  const { exitCode, stderr } = await runScript('fetch-history', words, {
    ...fake.env,
    DATABASE_URL: url,
  });
  expect(exitCode).toBe(EXIT.failed);
  expect(stderr).toContain('could not extend file');
  expect(await expectWholeFiles(sql)).toBeGreaterThan(0);
});

test('a helper session: writes only while its owner holds the lock', async () => {
  const { openSession } = await freshDatabase();
  const [owner, helper, other] = [openSession(), openSession(), openSession()];
  const write = () => lockedTransaction(helper, 7, '', async (tx) => tx`select 1`);
  await helpWith(owner, helper);
  await expect(write()).rejects.toThrow('another run took over');
  await withInstrumentLock(owner, 7, write);
  await expect(write()).rejects.toThrow('another run took over');

  // The next holder of the lock waits until the helper's transaction has ended.
  const order: string[] = [];
  let taken: Promise<unknown> = Promise.resolve();
  await withInstrumentLock(owner, 7, () =>
    lockedTransaction(helper, 7, '', async (tx) => {
      await owner`select pg_advisory_unlock_all()`;
      taken = withInstrumentLock(other, 7, async () => order.push('taken over'));
      await sleep(100);
      await tx`select 1`;
      order.push('helped');
    }),
  );
  await taken;
  expect(order).toEqual(['helped', 'taken over']);
});

test('HTTPS_PROXY: all requests go through the proxy', async () => {
  const { fake, env, expectComplete } = await setUp();
  await publish(fake, '2024-01');
  await publish(fake, '2024-02');
  const asked: string[] = [];
  const proxy = createServer((client) => {
    client.once('data', (head) => {
      const target = /^CONNECT ([^:]+):(\d+) /.exec(head.toString());
      asked.push(target?.[0] ?? 'no CONNECT');
      const onward = connect(Number(target?.[2]), target?.[1], () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n');
        client.pipe(onward).pipe(client);
      });
      onward.on('error', () => client.destroy());
      client.on('error', () => onward.destroy());
    });
  });
  await new Promise<void>((settle) => proxy.listen(0, '127.0.0.1', settle));
  onTestFinished(() => void proxy.close());
  const { port } = proxy.address() as { port: number };
  const words = ['BTC/USDT', '--interval', '1h', '--since', SINCE, '--until', UNTIL];
  const result = await runScript('fetch-history', words, {
    ...env,
    HTTPS_PROXY: `http://127.0.0.1:${port}`,
  });
  expect(result.exitCode).toBe(EXIT.done);
  expect(asked.length).toBeGreaterThan(0);
  expect(asked.every((line) => line.includes(new URL(fake.url).host))).toBe(true);
  await expectComplete();
});

test('fetch: does not load ccxt for bulk files', async () => {
  const { fake, env } = await setUp();
  await publish(fake, '2024-01');
  await publish(fake, '2024-02');
  const words = ['BTC/USDT', '--interval', '1h', '--since', SINCE, '--until', UNTIL];
  const running = startScript('fetch-history', words, { ...env, NODE_DEBUG: 'module' });
  const { exitCode, stderr } = await running.result;
  expect(exitCode).toBe(EXIT.done);
  expect(stderr).toContain('node_modules/undici/');
  expect(stderr).not.toContain('node_modules/ccxt/');
});

test('fetch: loads recorded files exactly: daily, monthly, with a header, in µs', async () => {
  const { fake, sql, env } = await setUp({ recordings: RECORDINGS, nowMs: Date.UTC(2025, 5, 1) });
  const spans = recordedSpans().filter((span) => span.since !== '2020-01-01');
  for (const { symbol, interval, since, until } of spans) {
    const range = ['--since', since, '--until', until, '--source', 'bulk'];
    await runScript('fetch-history', [symbol, '--interval', interval, ...range], env);
  }
  for (const { market, exchangeSymbol, symbol, interval } of spans) {
    const of = spans.filter((span) => span.symbol === symbol && span.interval === interval);
    const wanted = await Promise.all(
      of.map(({ since, until }) =>
        fake.candles(market, exchangeSymbol, interval, Date.parse(since), Date.parse(until) - 1),
      ),
    );
    expectSameRows(
      (await storedRows(sql, market, symbol, interval)).rows,
      expectedRows(wanted.flat(), Number.POSITIVE_INFINITY),
    );
  }
});
