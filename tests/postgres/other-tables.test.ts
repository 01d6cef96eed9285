import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { emptyDatabase } from '../support/database.ts';
import { runScript } from '../support/script.ts';
import { startStore } from '../support/store.ts';
import { makeCandles } from '../support/tiers.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);

async function setUp() {
  const { fake, database, env } = await startStore({ nowMs: NOW });
  const fetchHours = (...symbols: string[]) =>
    runScript(
      'fetch-history',
      [...symbols, '--interval', '1h', '--since', '2024-03-09', '--source', 'rest'],
      env,
    );
  return { fake, database, sql: database.sql, env, fetchHours };
}

const FOREIGN_TABLE = `
  create foreign data wrapper nowhere;
  create server nowhere foreign data wrapper nowhere;
  create foreign table btc_usdt (id int) server nowhere`;

test('fetch: refuses a symbol whose table name is taken, and fetches others', async () => {
  const { sql, fetchHours } = await setUp();
  for (const [kind, ddl, clean] of [
    ['foreign table', FOREIGN_TABLE],
    ['table', 'create table btc_usdt (like klines including all)'],
    ['table', 'create table btc_usdt (id int)'],
    ['view', 'create view btc_usdt as select 1 as id'],
    ['materialized view', 'create materialized view btc_usdt as select 1 as id'],
    ['sequence', 'create sequence btc_usdt'],
    ['type', "create type btc_usdt as enum ('a')"],
    ['type', 'create type btc_usdt as (id int)'],
    ['index', 'create table x (id int); create index btc_usdt on x (id)'],
    [
      'partition',
      'create table btc_usdt (like klines including all); alter table klines attach partition btc_usdt for values in (4711)',
      'drop table btc_usdt',
    ],
  ] as const) {
    await sql.unsafe(ddl);
    const refused = await fetchHours('BTC/USDT');
    expect(refused, ddl).toMatchObject({ exitCode: EXIT.config, stdout: '' });
    expect(refused.stderr).toContain('btc_usdt');
    expect(refused.stderr).toContain(kind);
    await sql.unsafe(clean ?? `drop ${kind} btc_usdt`);
  }
  await sql.unsafe('create schema early; create table early.btc_usdt (id int)');
  await setSearchPath(sql, 'early, public');
  const both = await fetchHours('BTC/USDT', 'ETH/USDT');
  expect(both.exitCode).toBe(EXIT.failed);
  expect(both.stdout).toContain('ETH/USDT 1h: +36 candles');
  expect(both.stdout).toMatch(/1 FAILED:\n {2}BTC\/USDT: Cannot use the table of BTC\/USDT/);
  const [stored] = await sql`select count(*)::int as candles from klines`;
  expect(stored?.candles).toBe(36);
});

async function setSearchPath(sql: postgres.Sql, path: string): Promise<void> {
  const [row] = await sql`select current_database() as name`;
  await sql.unsafe(`alter database "${row?.name}" set search_path = ${path}`);
}

test('fetch: leaves a table of the same name in a later schema unchanged', async () => {
  const { sql, fetchHours } = await setUp();
  await sql`create schema late`;
  await sql`create table late.btc_usdt (id int)`;
  await setSearchPath(sql, 'public, late');
  expect(await fetchHours('BTC/USDT')).toMatchObject({ exitCode: EXIT.done });
  const [row] = await sql`select count(*)::int as candles from public.btc_usdt`;
  expect(row?.candles).toBe(36);
});

test('fetch: creates tables in the schema of klines, not in an earlier one', async () => {
  const { sql, env, fetchHours } = await setUp();
  await sql`create schema early`;
  await setSearchPath(sql, 'early, public');
  expect(await fetchHours('BTC/USDT')).toMatchObject({ exitCode: EXIT.done });
  const archived = await runScript('archive', ['1', '--as-of', '2024-03-11'], env);
  expect(archived).toMatchObject({ exitCode: EXIT.done });
  const rows = await sql`
    select n.nspname as schema, c.relname as name from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relname like 'btc_usdt%' and c.relkind = 'r' order by 2`;
  expect([...rows]).toEqual([
    { schema: 'public', name: 'btc_usdt' },
    { schema: 'public', name: 'btc_usdt_archive' },
  ]);
});

test('fetch, archive, verify: report a table that was detached', async () => {
  const { sql, env, fetchHours } = await setUp();
  await fetchHours('BTC/USDT', 'ETH/USDT');
  await sql`alter table klines detach partition btc_usdt`;
  const fetched = await fetchHours('BTC/USDT');
  expect(fetched).toMatchObject({ exitCode: EXIT.config });
  expect(fetched.stderr).toContain('attach partition public.btc_usdt for values in (1)');
  const archived = await runScript('archive', ['1', '--as-of', '2024-03-11'], env);
  expect(archived.exitCode).toBe(EXIT.failed);
  expect(archived.stdout).toContain('ETH/USDT: 24 candles moved');
  expect(archived.stdout).toContain('BTC/USDT: Cannot use the table of BTC/USDT');
  const [left] = await sql`select count(*)::int as candles from btc_usdt`;
  expect(left?.candles).toBe(36);
  const verified = await runScript('verify-integrity', ['--json'], env);
  expect(verified.exitCode).toBe(EXIT.findings);
  expect(JSON.parse(verified.stdout).findings).toContainEqual(
    expect.objectContaining({ check: 'not-attached', symbol: 'BTC/USDT' }),
  );
});

test('archive: leaves out an instrument whose archive name is a view', async () => {
  const { database, sql, env } = await setUp();
  await makeCandles(database, { rows: 100, from: '2024-01-01T00:00Z' });
  await makeCandles(database, {
    symbol: 'ETH/USDT',
    table: 'eth_usdt',
    rows: 100,
    from: '2024-01-01T00:00Z',
  });
  await sql`create view btc_usdt_archive as select 1 as id`;
  const archived = await runScript('archive', ['1', '--as-of', '2024-03-10'], env);
  expect(archived.exitCode).toBe(EXIT.failed);
  expect(archived.stdout).toContain('ETH/USDT: 100 candles moved');
  expect(archived.stdout).toContain('btc_usdt_archive is a view');
});

test('archive: ignores a stranger named like a registered symbol', async () => {
  const { sql, env } = await setUp();
  await sql`
    insert into instruments (market, symbol, exchange_symbol, base, quote, status, table_name)
    values ('spot', 'XRP/USDT', 'XRPUSDT', 'XRP', 'USDT', 'active', 'xrp_usdt')`;
  await sql`create table xrp_usdt (id int)`;
  expect(await runScript('archive', ['1'], env)).toMatchObject({ exitCode: EXIT.done });
});

async function connect(url: string): Promise<postgres.Sql> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  onTestFinished(() => sql.end());
  return sql;
}

test('a database where names are taken: is refused before anything is created', async () => {
  const url = await emptyDatabase();
  const sql = await connect(url);
  await sql.unsafe(`
    create table instruments (id int);
    create view klines as select 1 as id;
    create sequence runs;
    create type klines_archive as enum ('a');
    create function slot_of(int) returns int language sql as $$ select 1 $$;
    create table schema_files (id int);
    create table x (id int);
    create index rejected_klines_once on x (id)`);
  const count = async () => (await sql`select count(*)::int as found from pg_class`)[0]?.found;
  const before = await count();
  const result = await runScript('status', [], { DATABASE_URL: url });
  expect(result).toMatchObject({ exitCode: EXIT.config, stdout: '' });
  for (const name of [
    'table instruments',
    'view klines',
    'sequence runs',
    'type klines_archive',
    'function slot_of(integer)',
    'table schema_files',
    'index rejected_klines_once',
  ])
    expect(result.stderr).toContain(name);
  expect(result.stderr).toContain('?options=-csearch_path%3Dklines');
  expect(await count()).toBe(before);
});

test('a missing first schema on search_path: gets its create statement', async () => {
  const url = await emptyDatabase();
  const sql = await connect(url);
  await setSearchPath(sql, 'klines, public');
  const result = await runScript('status', [], { DATABASE_URL: url });
  expect(result.exitCode).toBe(EXIT.config);
  expect(result.stderr).toContain('create schema klines authorization');
  await sql`create schema klines`;
  expect(await runScript('status', [], { DATABASE_URL: url })).toMatchObject({
    exitCode: EXIT.done,
  });
  const [home] = await sql`
    select n.nspname as schema from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where relname = 'klines'`;
  expect(home).toEqual({ schema: 'klines' });
});

test('a table in an earlier schema that hides ours: is refused by name', async () => {
  const { sql, env } = await setUp();
  await sql`create schema early`;
  await sql`create table early.instruments (id int)`;
  await setSearchPath(sql, 'early, public');
  const result = await runScript('status', [], env);
  expect(result.exitCode).toBe(EXIT.config);
  expect(result.stderr).toContain('finds others first: early.instruments');
});

test('two klinekeeps in one database: share neither tables nor locks', async () => {
  const { fake, sql, env, database } = await setUp();
  await makeCandles(database, { rows: 10, from: '2024-01-01T00:00Z' });
  await sql`create schema second`;
  // Holds instrument 1 of the first one.
  const holder = database.openSession();
  await holder`select pg_advisory_lock(lock_class(${0x6b6c}), 1)`;
  const held = await runScript('fetch-history', ['BTC/USDT', '--since', '1h'], env);
  expect(held.exitCode).toBe(EXIT.later);
  await setSearchPath(sql, 'second');
  const words = ['BTC/USDT', '--interval', '1h', '--since', '2024-03-10', '--source', 'rest'];
  const result = await runScript('fetch-history', words, { ...env, ...fake.env });
  expect(result).toMatchObject({ exitCode: EXIT.done });
  const [rows] = await sql`
    select (select count(*)::int from public.klines) as first, (select count(*)::int from second.klines) as second`;
  expect(rows).toEqual({ first: 10, second: 12 });
});
