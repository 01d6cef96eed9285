import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { emptyDatabase, freshDatabase } from '../support/database.ts';
import { freshRole } from '../support/role.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';
import { makeCandles } from '../support/tiers.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const FETCH = ['--interval', '1h', '--since', '2024-03-09', '--source', 'rest'];

async function connect(url: string): Promise<postgres.Sql> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  onTestFinished(() => sql.end());
  return sql;
}

const fakeExchange = async () => {
  const fake = await startExchange({ nowMs: NOW });
  return fake;
};

/** A database where only `klines` belongs to the role: it may create nothing elsewhere. */
async function ownerOfSchema() {
  const fake = await fakeExchange();
  const owner = await freshRole();
  const url = await emptyDatabase();
  const admin = await connect(url);
  await admin.unsafe(`
    revoke create on schema public from public;
    create schema klines authorization ${owner.name}`);
  const address = new URL(owner.as(url));
  address.searchParams.set('options', '-csearch_path=klines');
  return { admin, owner, url, env: { DATABASE_URL: address.href, ...fake.env } };
}

test('a role that owns one schema: runs every verb', async () => {
  const { admin, env } = await ownerOfSchema();
  const report = join(tmpdir(), `klinekeep-roles-${process.pid}.html`);
  onTestFinished(() => rm(report, { force: true }));
  const runs: [script: string, words: string[]][] = [
    ['sync-instruments', ['--market', 'spot']],
    ['fetch-history', ['BTC/USDT', 'ETH/USDT', ...FETCH]],
    ['fetch-history', ['BTC/USDT', '--interval', '1d', '--since', '2024-01-01']],
    ['update-klines', ['--symbol', 'BTC/USDT,ETH/USDT']],
    ['archive', ['1', '--as-of', '2024-03-11']],
    ['restore', ['BTC/USDT', '--from', '2024-03-09', '--to', '2024-03-09T12:00Z']],
    ['archive-log', []],
    ['repairs', []],
    ['verify-integrity', ['--deep', '--fail-on', 'error', '--from', '2024-03-09']],
    ['verify-integrity', ['--repair', '--from', '2024-03-09']],
    ['candles', ['BTC/USDT', '4h']],
    ['gaps', ['BTC/USDT']],
    ['status', []],
    ['metrics', []],
    ['report', ['--output', report]],
  ];
  for (const [script, words] of runs) {
    const result = await runScript(script, words, env);
    expect(result.exitCode, `${script}: ${result.stderr}`).toBe(EXIT.done);
  }
  const [stored] = await admin`
    select
      (select count(*)::int from pg_class c join pg_namespace n on n.oid = c.relnamespace where nspname = 'public') as elsewhere,
      (select count(*)::int from klines.klines_archive) as archived,
      (select count(*)::int from klines.runs where outcome = 'done') as runs`;
  expect(stored).toMatchObject({ elsewhere: 0, runs: runs.length });

  // It has no pg_monitor, so archive cannot see how far replicas are behind.
  const words = ['1', '--as-of', '2024-03-11'];
  const result = await runScript('archive', words, env);
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stderr.match(/grant pg_monitor to/g)).toHaveLength(1);
  expect(await runScript('archive', [...words, '--quiet'], env)).toMatchObject({ stderr: '' });
});

test('a role that may create nothing: gets the grant statement', async () => {
  const role = await freshRole();
  const url = await emptyDatabase();
  const admin = await connect(url);
  await admin`revoke create on schema public from public`;
  const result = await runScript('status', [], { DATABASE_URL: role.as(url) });
  expect(result).toMatchObject({ exitCode: EXIT.config, stdout: '' });
  expect(result.stderr).toContain(`create schema klines authorization ${role.name}`);
});

test('a role with the wrong search_path: gets the schema of the tables', async () => {
  const { admin, url } = await ownerOfSchema().then(async (made) => {
    await runScript('status', [], made.env);
    return made;
  });
  const reader = await freshRole();
  await admin.unsafe(`grant usage on schema klines to ${reader.name}`);
  onTestFinished(() => admin.unsafe(`drop owned by ${reader.name}`).then(() => {}));
  const result = await runScript('status', [], { DATABASE_URL: reader.as(url) });
  expect(result.exitCode).toBe(EXIT.config);
  expect(result.stderr).toContain('options=-csearch_path%3Dklines');
});

const READ_VERBS: [script: string, words: string[]][] = [
  ['candles', ['BTC/USDT', '1m', '--limit', '5']],
  ['gaps', ['BTC/USDT']],
  ['status', []],
  ['metrics', []],
  ['verify-integrity', ['--deep', '--from', '2024-01-01', '--to', '2024-01-02']],
  ['archive-log', []],
  ['repairs', []],
];

/** Candles in both tiers, and a role that may read every table. */
async function readOnlyRole(options = '') {
  const reader = await freshRole(options);
  const database = await freshDatabase();
  const { sql } = database;
  await makeCandles(database, { rows: 2000, from: '2024-01-01T00:00Z' });
  await runScript('archive', ['1', '--as-of', '2024-01-03'], { DATABASE_URL: database.url });
  await sql.unsafe(`grant select on all tables in schema public to ${reader.name}`);
  return { database, sql, reader, env: { DATABASE_URL: reader.as(database.url) } };
}

async function writtenRows(sql: postgres.Sql): Promise<number> {
  const [row] = await sql`
    select (select count(*) from runs) + (select count(*) from archive_runs)
      + (select count(*) from schema_files) + (select count(*) from series_checks) as rows`;
  return Number(row?.rows);
}

const WRITE_VERBS: [script: string, words: string[]][] = [
  ['fetch-history', ['BTC/USDT']],
  ['update-klines', []],
  ['archive', ['1']],
  ['restore', ['BTC/USDT', '--from', '2024-01-01', '--to', '2024-01-02']],
  ['sync-instruments', ['--market', 'spot']],
  ['verify-integrity', ['--repair']],
];

test('a read-only role: reads everything, gets the privilege for writing', async () => {
  const { sql, env } = await readOnlyRole();
  const before = await writtenRows(sql);
  const report = join(tmpdir(), `klinekeep-roles-${process.pid}.html`);
  onTestFinished(() => rm(report, { force: true }));
  for (const [script, words] of [...READ_VERBS, ['report', ['--output', report]] as const]) {
    const result = await runScript(script, words, env);
    expect(result.exitCode, `${script}: ${result.stderr}`).toBe(EXIT.done);
  }
  for (const [script, words] of WRITE_VERBS) {
    const result = await runScript(script, words, env);
    expect(result, script).toMatchObject({ exitCode: EXIT.config, stdout: '' });
    expect(result.stderr).toContain('has no INSERT privilege on klines');
  }
  expect(await writtenRows(sql)).toBe(before);
});

test('default_transaction_read_only: allows reads, is named by writes', async () => {
  const { database, sql } = await readOnlyRole();
  const [name] = await sql`select current_database() as name`;
  await sql.unsafe(`alter database ${name?.name} set default_transaction_read_only = on`);
  const env = { DATABASE_URL: database.url };
  for (const [script, words] of READ_VERBS) {
    const result = await runScript(script, words, env);
    expect(result.exitCode, `${script}: ${result.stderr}`).toBe(EXIT.done);
  }
  const result = await runScript('archive', ['1'], env);
  expect(result.exitCode).toBe(EXIT.config);
  expect(result.stderr).toContain('default_transaction_read_only');
});

test('verify --compare: works for a read-only role with its own budget', async () => {
  const fake = await fakeExchange();
  const { sql, env } = await readOnlyRole();
  const before = await writtenRows(sql);
  const result = await runScript('verify-integrity', ['--compare', '3'], { ...env, ...fake.env });
  // The candles are made up: each of them differs.
  expect(result.exitCode).toBe(EXIT.findings);
  expect(result.stdout).toContain('differs');
  expect(await writtenRows(sql)).toBe(before);
});

test('a read-only role: gets the names of pending schema files', async () => {
  const { sql, env } = await readOnlyRole();
  await sql`delete from schema_files where name = '009_sharing.sql'`;
  const result = await runScript('status', [], env);
  expect(result.exitCode).toBe(EXIT.config);
  expect(result.stderr).toContain('Schema files are pending (009_sharing.sql)');
  expect(result.stderr).toContain('does not own the tables');
});

test('a new symbol: can be read by a role that may read klines', async () => {
  const fake = await fakeExchange();
  const reader = await freshRole();
  const database = await freshDatabase();
  const { sql } = database;
  const env = { DATABASE_URL: database.url, ...fake.env };
  await sql.unsafe(`
    grant select on klines, klines_archive to ${reader.name} with grant option;
    grant select on instruments, confirmed_gaps, runs, schema_files to ${reader.name};
    grant select (open_time) on klines to public`);
  await runScript('fetch-history', ['BTC/USDT', ...FETCH], env);
  await runScript('archive', ['1', '--as-of', '2024-03-11'], env);
  const result = await runScript('status', ['--json'], { DATABASE_URL: reader.as(database.url) });
  expect(result).toMatchObject({ exitCode: EXIT.done });
  expect(JSON.parse(result.stdout).series).toMatchObject([{ symbol: 'BTC/USDT', interval: '1h' }]);
  const grants = await sql`
    select c.relname as name, has_table_privilege(${reader.name}, c.oid, 'select with grant option') as may,
      has_column_privilege('public', c.oid, 'open_time', 'select') as column
    from pg_class c where relname in ('btc_usdt', 'btc_usdt_archive') order by 1`;
  expect([...grants]).toEqual([
    { name: 'btc_usdt', may: true, column: true },
    { name: 'btc_usdt_archive', may: true, column: false },
  ]);
});

test('status: works for a role that may read only some tables', async () => {
  const cases = [
    { reader: await freshRole(), tables: 'klines', symbol: 'btc_usdt' },
    { reader: await freshRole(), tables: 'all_klines', symbol: 'BTC/USDT' },
    { reader: await freshRole(), tables: 'klines, klines_archive, all_klines', symbol: 'BTC/USDT' },
  ];
  const database = await freshDatabase();
  await makeCandles(database, { rows: 2000, from: '2024-01-01T00:00Z' });
  for (const { reader, tables, symbol } of cases) {
    await database.sql.unsafe(`grant select on ${tables} to ${reader.name}`);
    const env = { DATABASE_URL: reader.as(database.url) };
    const result = await runScript('status', ['--json'], env);
    expect(result, tables).toMatchObject({ exitCode: EXIT.done });
    expect(JSON.parse(result.stdout).series, tables).toMatchObject([
      { symbol, interval: '1m', first: '2024-01-01T00:00:00Z' },
    ]);
  }
});

test('a table created by another role: belongs to the owner of klines', async () => {
  const fake = await fakeExchange();
  const { admin, owner, url } = await ownerOfSchema().then(async (made) => {
    await runScript('status', [], made.env);
    return made;
  });
  await admin.unsafe(`alter database ${new URL(url).pathname.slice(1)} set search_path = klines`);
  // As the superuser.
  const result = await runScript('fetch-history', ['BTC/USDT', ...FETCH], {
    DATABASE_URL: url,
    ...fake.env,
  });
  expect(result.exitCode).toBe(EXIT.done);
  const [table] = await admin`
    select pg_get_userbyid(relowner) as owner from pg_class where relname = 'btc_usdt'`;
  expect(table?.owner).toBe(owner.name);
});

test('a refused statement: names the privilege and how to grant it', async () => {
  const reader = await freshRole();
  const database = await freshDatabase();
  await makeCandles(database, { rows: 10, from: '2024-01-01T00:00Z' });
  await database.sql.unsafe(`grant select on instruments, schema_files to ${reader.name}`);
  const env = { DATABASE_URL: reader.as(database.url) };
  const result = await runScript('candles', ['BTC/USDT', '1m'], env);
  expect(result.exitCode).toBe(EXIT.config);
  expect(result.stderr).toMatch(
    /Missing: SELECT on both_tiers\. .*grant select on table both_tiers to role_/,
  );
  expect(result.stderr).toContain(`grant select on all tables in schema public to ${reader.name};`);
});
