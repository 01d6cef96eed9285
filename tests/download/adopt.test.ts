import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { runScript, startScript } from '../support/script.ts';
import { startStore } from '../support/store.ts';
import { storedRows } from '../support/stored.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);

async function setUp() {
  const { fake, database, env } = await startStore({ nowMs: NOW });
  const adopt = async (table: string, ...words: string[]) =>
    await runScript('db-adopt', [table, '--symbol', 'BTC/USDT', '--interval', '1m', ...words], env);
  return { fake, sql: database.sql, env, adopt };
}

/** The table of the reference system, with a candle a minute from 2024-01-01 on. */
async function makeReference(sql: postgres.Sql, name: string, rows: number): Promise<void> {
  await sql.unsafe(`
    create table ${name} (
      id bigint generated always as identity primary key, timestamp bigint not null,
      open_time timestamptz not null, close_time timestamptz not null,
      open_price numeric(20, 8), high_price numeric(20, 8), low_price numeric(20, 8), close_price numeric(20, 8),
      volume numeric(20, 8), quote_volume numeric(20, 8), trades_count int,
      taker_buy_volume numeric(20, 8), taker_buy_quote_volume numeric(20, 8),
      created_at timestamptz default now(), updated_at timestamptz default now()
    );
    insert into ${name} (timestamp, open_time, close_time, open_price, high_price, low_price, close_price,
      volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume)
    select extract(epoch from t) * 1000, t, t + '59.999 s', 100 + n, 102.5 + n, 99.12345678 + n, 101 + n, n + 1, n * 2, n + 1, 0.5, n / 7.0
    from generate_series(0, ${rows - 1}) as n
    cross join lateral (select timestamptz '2024-01-01 00:00Z' + n * interval '1 minute' as t) as at`);
}

const countStored = async (sql: postgres.Sql) =>
  (await sql`select count(*)::int as candles from all_klines`)[0]?.candles;

test("db adopt: copies a table with our table's name, and renames it", async () => {
  const { sql, env, adopt } = await setUp();
  await makeReference(sql, 'btc_usdt', 21_000);
  const refused = await adopt('btc_usdt');
  expect(refused).toMatchObject({ exitCode: EXIT.config, stdout: '' });
  expect(refused.stderr).toContain('--rename btc_usdt_old');
  const dry = await adopt('btc_usdt', '--rename', 'btc_usdt_old', '--dry-run');
  expect(dry).toMatchObject({ exitCode: EXIT.done });
  expect(dry.stdout).toContain('21,000 rows read, 21,000 candles would be added');
  expect(await sql`select from instruments where table_name = 'btc_usdt'`).toHaveLength(1);

  const result = await adopt('btc_usdt', '--rename', 'btc_usdt_old', '--json');
  expect(result).toMatchObject({ exitCode: EXIT.done });
  expect(JSON.parse(result.stdout)).toMatchObject({
    rows: 21_000,
    inserted: 21_000,
    rejected: 0,
    duplicates: 0,
    table: 'public.btc_usdt_old',
    compared: { equal: 21_000, different: 0 },
  });
  const { rows } = await storedRows(sql, 'spot', 'BTC/USDT', '1m');
  expect(rows[7]).toBe('1704067620000 107 109.5 106.12345678 108 8 1704067679999 14 8 0.5 1');
  const [old] = await sql`select count(*)::int as rows from btc_usdt_old`;
  expect(old?.rows).toBe(21_000);

  const again = await adopt('btc_usdt', '--rename', 'btc_usdt_old');
  expect(again).toMatchObject({ exitCode: EXIT.done });
  expect(again.stdout).toContain('21,000 were stored already');
  const verified = await runScript('verify-integrity', ['--to', '2024-01-15'], env);
  expect(verified.exitCode, verified.stdout).toBe(EXIT.done);
});

test('db adopt: compares with both tiers and overwrites neither', async () => {
  const { sql, env, adopt } = await setUp();
  await makeReference(sql, 'old_btc', 3000);
  expect(await adopt('old_btc')).toMatchObject({ exitCode: EXIT.done });
  await runScript('archive', ['1', '--as-of', '2024-01-03'], env);
  await sql`update klines set volume = 77 where open_time = '2024-01-02 05:00Z'`;
  await sql`update klines_archive set close_price = 77 where open_time = '2024-01-01 05:00Z'`;
  await sql`delete from klines where open_time > '2024-01-02 10:00Z'`;
  const result = await adopt('old_btc', '--json');
  expect(JSON.parse(result.stdout)).toMatchObject({
    inserted: 3000 - 1440 - 601,
    different: 2,
    equal: 1440 + 601 - 2,
    firstDifferent: '2024-01-01T05:00:00.000Z',
    table: 'public.old_btc',
  });
  const [kept] = await sql`
    select (select volume::float8 from klines where open_time = '2024-01-02 05:00Z') as hot,
      (select close_price::float8 from klines_archive where open_time = '2024-01-01 05:00Z') as archived`;
  expect(kept).toEqual({ hot: 77, archived: 77 });
  expect(await countStored(sql)).toBe(3000);
});

test('db adopt: reads other names and types, and rejects bad rows', async () => {
  const { sql, adopt } = await setUp();
  await sql`create schema "Old Bot"`;
  await sql.unsafe(`
    create table "Old Bot"."Candles" (
      ts timestamp, o double precision, h real, l text, "Close" numeric, v numeric, qv numeric, n bigint, tb numeric, tq numeric
    );
    insert into "Old Bot"."Candles" values
      ('2024-01-01 00:00', 0.1, 0.5, '0.1', 0.30000000, 1, 2, 3, 4, 5),
      ('2024-01-01 00:01', 0.1, 0.5, '0.1', 0.2, 1, 2, 3, 4, 5),
      ('2024-01-01 00:01', 0.1, 0.5, '0.1', 0.3, 1, 2, 3, 4, 5),
      ('2024-01-01 00:02', 0.1, 0.5, 'a,b', 0.2, 1, 2, 3, 4, 5),
      ('2024-01-01 00:03', 'NaN', 0.5, '0.1', 0.2, 1, 2, 3, 4, 5),
      ('2024-01-01 00:04', 0.1, 0.5, '0.1', null, 1, 2, 3, 4, 5),
      ('2024-01-01 00:05', 0.1, 0.5, '0.1', 0.2, 1, 2, 3, 4, 5),
      ('infinity', 0.1, 0.5, '0.1', 0.2, 1, 2, 3, 4, 5),
      ('2024-03-10 12:30', 0.1, 0.5, '0.1', 0.2, 1, 2, 3, 4, 5),
      (null, 0.1, 0.5, '0.1', 0.2, 1, 2, 3, 4, 5)`);
  const map =
    'open_time=ts,open_price=o,high_price=h,low_price=l,close_price=Close,volume=v,quote_volume=qv,' +
    'trades_count=n,taker_buy_volume=tb,taker_buy_quote_volume=tq';
  const result = await adopt('"Old Bot"."Candles"', '--map', map, '--json');
  expect(result).toMatchObject({ exitCode: EXIT.done });
  expect(JSON.parse(result.stdout)).toMatchObject({
    rows: 10,
    inserted: 3,
    duplicates: 1,
    rejected: 5,
    forming: 1,
    compared: { equal: 3, different: 0 },
  });
  expect(result.stderr).toContain('ts has no time zone: read as UTC.');
  expect(result.stderr).toContain('o is a float (double precision): rounded to 8 decimals.');
  expect(result.stderr).toContain('There is no close_time');
  const { rows } = await storedRows(sql, 'spot', 'BTC/USDT', '1m');
  expect(rows).toEqual([
    '1704067200000 0.1 0.5 0.1 0.3 1 1704067259999 2 3 4 5',
    '1704067260000 0.1 0.5 0.1 0.3 1 1704067319999 2 3 4 5',
    '1704067500000 0.1 0.5 0.1 0.2 1 1704067559999 2 3 4 5',
  ]);
  const rejected = await sql`select source, reason from rejected_klines order by reason`;
  expect(rejected).toHaveLength(5);
  expect(rejected[0]?.source).toBe('table "Old Bot"."Candles"');
});

test.each(['ms', 'µs'])('db adopt: reads times that are whole numbers in %s', async (unit) => {
  const { sql, adopt } = await setUp();
  await makeReference(sql, 'old_btc', 50);
  await sql.unsafe(`
    alter table old_btc drop column open_time, drop column close_time;
    update old_btc set timestamp = timestamp * ${unit === 'ms' ? 1 : 1000}`);
  const result = await adopt('old_btc', '--json');
  expect(JSON.parse(result.stdout)).toMatchObject({ inserted: 50, rejected: 0 });
  const { rows } = await storedRows(sql, 'spot', 'BTC/USDT', '1m');
  expect(rows[1]).toMatch(/^1704067260000 .* 1704067319999 /);
});

test('db adopt: reads only its own series from a table of several', async () => {
  const { sql, adopt } = await setUp();
  await makeReference(sql, 'old_btc', 50);
  await sql.unsafe(`
    alter table old_btc add column symbol text default 'BTCUSDT', add column interval text default '1m';
    insert into old_btc (timestamp, open_time, close_time, symbol, interval)
      select timestamp, open_time, close_time, 'ETHUSDT', interval from old_btc
      union all select timestamp, open_time, close_time, symbol, '1h' from old_btc`);
  const result = await adopt('old_btc', '--json');
  expect(JSON.parse(result.stdout)).toMatchObject({ rows: 50, inserted: 50, rejected: 0 });
});

test('db adopt: refuses what it cannot read before anything is registered', async () => {
  const { sql, adopt } = await setUp();
  await sql`create table bare (open_time date, open_price numeric)`;
  const bare = await adopt('bare');
  expect(bare).toMatchObject({ exitCode: EXIT.data, stdout: '' });
  expect(bare.stderr).toContain(
    'open_time is of type date; wanted timestamp, timestamptz, or bigint',
  );
  expect(bare.stderr).toContain('it has no column high_price');
  expect(bare.stderr).toContain('Its columns: ');
  const nothing = await adopt('nothing_there');
  expect(nothing).toMatchObject({ exitCode: EXIT.data });
  expect(nothing.stderr).toContain('There is no table nothing_there');
  expect((await adopt('klines')).stderr).toContain('belongs to klinekeep already');
  expect(await adopt('bare', '--map', 'open_tim=x')).toMatchObject({ exitCode: EXIT.usage });
  expect((await adopt('bare', '--map', 'open_time=x')).stderr).toContain(
    'no column x (for open_time)',
  );
  expect(await sql`select from instruments`).toHaveLength(0);
});

test('db adopt: refuses an empty table, another interval, and bad rows', async () => {
  const { sql, env, adopt } = await setUp();
  await makeReference(sql, 'old_btc', 200);
  const words = ['old_btc', '--symbol', 'BTC/USDT', '--interval', '1h'];
  const other = await runScript('db-adopt', words, env);
  expect(other).toMatchObject({ exitCode: EXIT.data });
  expect(other.stderr).toContain('The candles in this table are 1m apart, but --interval is 1h');
  await sql`update old_btc set open_price = 0`;
  const rubbish = await adopt('old_btc');
  expect(rubbish).toMatchObject({ exitCode: EXIT.data });
  expect(rubbish.stderr).toContain('open_price is not above zero');
  await sql`truncate old_btc`;
  const empty = await adopt('old_btc');
  expect(empty).toMatchObject({ exitCode: EXIT.data });
  expect(empty.stderr).toContain('has no rows to copy');
  expect(await countStored(sql)).toBe(0);
});

test('db adopt: registers by name where Binance cannot be reached', async () => {
  const { sql, fake, adopt, env } = await setUp();
  await makeReference(sql, 'old_btc', 20);
  await fake.close();
  const result = await adopt('old_btc');
  expect(result).toMatchObject({ exitCode: EXIT.done });
  expect(result.stderr).toContain('BTC/USDT is registered by its name');
  expect([...(await sql`select symbol, exchange_symbol, table_name from instruments`)]).toEqual([
    { symbol: 'BTC/USDT', exchange_symbol: 'BTCUSDT', table_name: 'btc_usdt' },
  ]);
  const words = ['old_btc', '--symbol', 'ETHUSDT', '--interval', '1m'];
  const unclear = await runScript('db-adopt', words, env);
  expect(unclear.exitCode).toBe(EXIT.unavailable);
  expect(unclear.stderr).toContain('Write it as BTC/USDT');
});

test('db adopt: continues after SIGKILL, even after it renamed the table', async () => {
  const { sql, env, adopt } = await setUp();
  await makeReference(sql, 'btc_usdt', 50_000);
  const words = [
    'btc_usdt',
    '--symbol',
    'BTC/USDT',
    '--interval',
    '1m',
    '--rename',
    'btc_usdt_old',
  ];
  const running = startScript('db-adopt', words, env);
  const stored = async () =>
    (await sql`select count(*)::int as candles from klines`)[0]?.candles as number;
  while ((await stored()) === 0) await new Promise((settle) => setTimeout(settle, 20));
  running.process.kill('SIGKILL');
  await running.result;
  const left = await stored();
  expect(left).toBeLessThan(50_000);
  const result = await adopt('btc_usdt', '--rename', 'btc_usdt_old', '--json');
  expect(result).toMatchObject({ exitCode: EXIT.done });
  const counts = JSON.parse(result.stdout);
  expect(counts).toMatchObject({ rows: 50_000, compared: { equal: 50_000, different: 0 } });
  expect(counts.inserted + counts.equal).toBe(50_000);
});

test('db adopt: ends with 75 when another run holds the instrument', async () => {
  const { sql, adopt } = await setUp();
  await makeReference(sql, 'old_btc', 20);
  await adopt('old_btc');
  const holder = await sql.reserve();
  await holder`select pg_advisory_lock(lock_class(${0x6b6c}), 1)`;
  const result = await adopt('old_btc');
  holder.release();
  expect(result).toMatchObject({ exitCode: EXIT.later, stdout: '' });
});

test('db adopt: refuses a new name that is taken, and keeps the old table', async () => {
  const { sql, adopt } = await setUp();
  await makeReference(sql, 'btc_usdt', 20);
  await sql`create view taken as select 1 as id`;
  const result = await adopt('btc_usdt', '--rename', 'taken');
  expect(result).toMatchObject({ exitCode: EXIT.config });
  expect(result.stderr).toContain('Cannot rename public.btc_usdt: public.taken exists already');
  expect(await sql`select from btc_usdt`).toHaveLength(20);
});

test('db adopt: copies a table named like a keyword, and gives it such a name', async () => {
  const { sql, adopt } = await setUp();
  await makeReference(sql, '"order"', 10);
  const result = await adopt('order', '--rename', 'user', '--json');
  expect(result, result.stderr).toMatchObject({ exitCode: EXIT.done });
  expect(JSON.parse(result.stdout)).toMatchObject({ inserted: 10, table: 'public."user"' });
  expect(await sql`select from "user"`).toHaveLength(10);
});
