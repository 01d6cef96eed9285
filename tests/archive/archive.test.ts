import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { readColumns } from '../../lib/archive/tables.ts';
import { EXIT } from '../../lib/base/errors.ts';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { migrate } from '../../lib/postgres/migrate.ts';
import { freshDatabase } from '../support/database.ts';
import { fetchReference } from '../support/reference.ts';
import { runScript, startScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';
import { expectLedger, expectReference, makeCandles } from '../support/tiers.ts';

const AS_OF = ['--as-of', '2024-03-10T18:00Z'];
const CUTOFF = Date.UTC(2024, 1, 9);
const DUE = (CUTOFF - Date.UTC(2023, 9, 1)) / 3_600_000;

/** 161 days of 1h candles, of which 131 are to move. */
async function setUp() {
  const fake = await startExchange({ nowMs: Date.UTC(2024, 2, 12) });
  const database = await freshDatabase();
  const env = { DATABASE_URL: database.url };
  const reference = await fetchReference(database, fake, '2023-10-01', '2024-03-10');
  const archive = (...words: string[]) => runScript('archive', words, env);
  return { fake, database, sql: database.sql, env, archive, ...reference };
}

test('archive: moves every candle older than the cutoff, a UTC midnight', async () => {
  const { sql, archive, expectComplete } = await setUp();
  const result = await archive('30', ...AS_OF, '--json');
  expect(result.exitCode).toBe(EXIT.done);
  expect(JSON.parse(result.stdout)).toMatchObject({
    cutoff: '2024-02-09T00:00:00.000Z',
    rows: DUE,
  });
  expect((await expectComplete()).archive).toBe(DUE);
  const [edges] = await sql`
    select (select max(open_time) from klines_archive) as last, (select min(open_time) from klines) as first`;
  expect(edges).toEqual({ last: new Date(CUTOFF - 3_600_000), first: new Date(CUTOFF) });
});

test('archive: creates an archive table of the same shape and attaches it', async () => {
  const { sql, archive } = await setUp();
  await archive('30', ...AS_OF);
  const columns = async (table: string) =>
    sql`select attname, format_type(atttypid, atttypmod), attnotnull from pg_attribute
      where attrelid = ${table}::regclass and attnum > 0 order by attnum`;
  expect(await columns('btc_usdt_archive')).toEqual(await columns('btc_usdt'));
  const parents =
    await sql`select inhparent::regclass::text as parent from pg_inherits where inhrelid = 'btc_usdt_archive'::regclass`;
  expect(parents).toEqual([{ parent: 'klines_archive' }]);
  const keys =
    await sql`select 1 from pg_index where indrelid = 'btc_usdt_archive'::regclass and indisprimary`;
  expect(keys).toHaveLength(1);
});

test('archive: logs each batch with its content hash, and how the run ended', async () => {
  const { sql, archive } = await setUp();
  await archive('30', ...AS_OF, '--batch', '500');
  const [run] =
    await sql`select outcome, moved_rows::int, to_time, finished_at is not null as finished from archive_runs`;
  expect(run).toEqual({
    outcome: 'done',
    moved_rows: DUE,
    to_time: new Date(CUTOFF),
    finished: true,
  });
  const batches =
    await sql`select from_time, to_time, moved_rows, content_hash::text from archive_batches order by id`;
  // There are more when a batch took long and the next ones were halved.
  expect(batches.length).toBeGreaterThanOrEqual(Math.ceil(DUE / 500));
  const { row_hash } = await readColumns(sql, 'klines_archive');
  for (const batch of batches) {
    const [again] = await sql`
      select count(*)::int as moved_rows, sum(${sql.unsafe(row_hash.text)})::text as content_hash
      from klines_archive where open_time >= ${batch.from_time} and open_time < ${batch.to_time}`;
    expect(again).toEqual({ moved_rows: batch.moved_rows, content_hash: batch.content_hash });
  }
});

test('archive --dry-run: shows tables, candles and bytes, changes nothing', async () => {
  const { sql, archive, expectComplete } = await setUp();
  const result = await archive('30', ...AS_OF, '--dry-run');
  expect(result.stdout).toMatch(/btc_usdt +btc_usdt_archive +3,144 +1 +\d+\.\d kB/);
  expect(await expectComplete()).toEqual({ hot: 161 * 24 });
  expect(await sql`select 1 from archive_runs`).toHaveLength(0);
  const json = JSON.parse((await archive('30', ...AS_OF, '--dry-run', '--json')).stdout);
  expect(json).toMatchObject({
    dryRun: true,
    tables: [{ symbol: 'BTC/USDT', table: 'btc_usdt', rows: DUE, batches: 1 }],
  });
  const [size] =
    await sql`select sum(pg_column_size(k.*))::int as bytes from klines k where open_time < ${new Date(CUTOFF)}`;
  expect(Math.abs(json.tables[0].bytes / size!.bytes - 1)).toBeLessThan(0.01);
});

test('archive: moves nothing when no candle is old enough', async () => {
  const { archive, expectComplete } = await setUp();
  expect((await archive('300', ...AS_OF)).stdout).toContain(
    '0 candles older than 2023-05-15 moved',
  );
  expect(await expectComplete()).toEqual({ hot: 161 * 24 });
});

test('archive: ends with 143 between two batches at SIGTERM', async () => {
  const { sql, env, expectComplete } = await setUp();
  const running = startScript('archive', ['30', ...AS_OF, '--batch', '1'], env);
  while ((await sql`select 1 from archive_batches limit 1`).length === 0) await sleep(10);
  running.process.kill('SIGTERM');
  const result = await running.result;
  expect(result.exitCode).toBe(143);
  expect(result.stderr).toMatch(/stopped at BTC\/USDT 1h 2023-1\d-\d\d/);
  const { archive = 0 } = await expectComplete();
  expect(result.stdout).toContain(
    `${(DUE - archive).toLocaleString('en-US')} candles left; run it again to continue`,
  );
  expect(await sql`select outcome, moved_rows::int from archive_runs`).toEqual([
    { outcome: 'work remaining', moved_rows: archive },
  ]);
});

test.each([
  ['alter table %s add column note text', 'column 16 is note text'],
  ['alter table %s alter volume type numeric', 'column 9 is volume numeric'],
  ['alter table %s alter trades_count drop not null', 'column 11 is trades_count integer, wanted'],
])('archive: refuses an archive table after %s', async (change, found) => {
  const { sql, archive, expectComplete } = await setUp();
  await archive('100', ...AS_OF);
  const before = await expectComplete();
  await sql`alter table klines_archive detach partition btc_usdt_archive`;
  await sql.unsafe(change.replace('%s', 'btc_usdt_archive'));
  const result = await archive('30', ...AS_OF);
  expect(result.exitCode).toBe(EXIT.failed);
  expect(result.stdout).toContain(found);
  expect(result.stdout).toContain('No row was moved');
  const [hot] = await sql`select count(*)::int as candles from klines`;
  expect(hot!.candles).toBe(before.hot);
  expect(await sql`select outcome from archive_runs order by id`).toEqual([
    { outcome: 'done' },
    { outcome: 'refused' },
  ]);
});

test('archive: reports how much it moved before it failed', async () => {
  const { sql, env } = await setUp();
  await sql`alter table archive_batches add constraint three check (id <= 3)`;
  const result = await runScript('archive', ['30', ...AS_OF, '--batch', '100', '--json'], env);
  expect(result.exitCode).toBe(EXIT.failed);
  expect(JSON.parse(result.stdout)).toMatchObject({
    rows: 300,
    tables: [{ symbol: 'BTC/USDT', rows: 300 }],
  });
});

test('archive: skips a busy instrument with 75 and moves the others', async () => {
  const { sql, database, env, fake, archive, expectComplete } = await setUp();
  await runScript('fetch-history', ['ETH/USDT', '--interval', '1h', '--since', '2024-01-01'], {
    ...env,
    ...fake.env,
  });
  const [eth] = await sql`select id from instruments where symbol = 'ETH/USDT'`;
  const other = database.openSession();
  await other`select pg_advisory_lock(lock_class(${0x6b6c}), ${eth!.id})`;
  const result = await archive('30', ...AS_OF);
  expect(result.exitCode).toBe(EXIT.later);
  expect(result.stdout).toContain('1 skipped, locked by another run: ETH/USDT');
  expect((await expectComplete()).archive).toBe(DUE);
  expect(await sql`select outcome from archive_runs`).toEqual([{ outcome: 'work remaining' }]);
});

test('archive: moves only the chosen symbol and interval', async () => {
  const { env, fake, sql, archive } = await setUp();
  for (const interval of ['1w', '1M']) {
    await runScript(
      'fetch-history',
      ['BTC/USDT', '--interval', interval, '--since', '2023-10-01'],
      { ...env, ...fake.env },
    );
  }
  await archive('30', ...AS_OF, '--symbol', 'BTC/USDT', '--interval', '1w');
  expect(await sql`select distinct interval from klines_archive`).toEqual([{ interval: '1w' }]);
  await archive('30', ...AS_OF);
  const last =
    await sql`select interval, max(open_time) as last from klines_archive group by 1 order by 1`;
  expect(last).toEqual([
    { interval: '1M', last: new Date('2024-02-01') },
    { interval: '1h', last: new Date(CUTOFF - 3_600_000) },
    { interval: '1w', last: new Date('2024-02-05') },
  ]);
});

test.each([
  [['abc'], 'DAYS is "abc"'],
  [['0'], 'DAYS is "0"'],
  [['1.5'], 'DAYS is "1.5"'],
  [['1e3'], 'DAYS is "1e3"'],
  [[], 'DAYS is missing'],
  [['30', '40'], 'Unexpected argument "40"'],
  [['30', '--as-of', '2200-01-01'], 'in the future'],
  [['30', '--as-of', 'soon'], '--as-of is "soon"'],
  [['30', '--as-of', '9999y'], '--as-of is "9999y"'],
  [['30', '--batch', '0'], '--batch is "0"'],
  [['30', '--max-runtime', '10'], '--max-runtime is "10"'],
  [['30', '--interval', '7m'], '--interval is "7m"'],
  [['30', '--symbol', 'BTC/USDT/X'], '"BTC/USDT/X" is not a symbol. Expected a symbol such as'],
  [['30', '--gently'], "Unknown option '--gently'"],
])('archive %j: exits with 64', async (words, found) => {
  const result = await runScript('archive', words);
  expect(result.exitCode).toBe(EXIT.usage);
  expect(result.stderr).toContain(found);
  expect(result.stdout).toBe('');
});

test('archive --max-runtime: exits with 75, and the next run continues', async () => {
  const { sql, archive, expectComplete } = await setUp();
  // Each batch takes 30 ms more than it would.
  await sql.unsafe(`
    create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.03); return new; end $$;
    create trigger dawdle after insert on archive_batches for each row execute function dawdle()`);
  const words = ['30', ...AS_OF, '--batch', '10', '--max-runtime', '2s'];
  const result = await archive(...words, '--json');
  expect(result.exitCode).toBe(EXIT.later);
  const { rows, rowsLeft, stopped } = JSON.parse(result.stdout);
  expect(rows).toBeGreaterThan(0);
  expect(rows + rowsLeft).toBe(DUE);
  expect(stopped).toEqual([{ symbol: 'BTC/USDT', reason: 'the time is up' }]);
  expect((await expectComplete()).archive).toBe(rows);
  expect(await sql`select outcome, detail, moved_rows::int from archive_runs`).toEqual([
    { outcome: 'work remaining', detail: 'BTC/USDT: the time is up', moved_rows: rows },
  ]);

  await sql`drop trigger dawdle on archive_batches`;
  expect((await archive('30', ...AS_OF)).exitCode).toBe(EXIT.done);
  expect((await expectComplete()).archive).toBe(DUE);
});

test('archive --max-runtime: is done when the last batch used up the time', async () => {
  const { sql, archive, expectComplete } = await setUp();
  await sql.unsafe(`
    create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(1.1); return new; end $$;
    create trigger dawdle after insert on archive_batches for each row execute function dawdle()`);
  const words = ['30', ...AS_OF, '--batch', String(DUE), '--max-runtime', '1s'];
  expect((await archive(...words)).exitCode).toBe(EXIT.done);
  expect((await expectComplete()).archive).toBe(DUE);
});

test('archive: moves candles that fetch filled into the archived range', async () => {
  const { sql, env, fake, archive, expectComplete } = await setUp();
  await archive('30', ...AS_OF);
  await sql`delete from klines_archive where open_time >= '2023-12-01' and open_time < '2023-12-03'`;
  const words = ['BTC/USDT', '--interval', '1h', '--since', '2023-10-01', '--until', '2024-03-10'];
  await runScript('fetch-history', words, { ...env, ...fake.env });
  expect(await expectComplete()).toEqual({ hot: 30 * 24 + 48, archive: DUE - 48 });
  await runScript('update-klines', ['--limit', '2500'], { ...env, ...fake.env });
  await sql`delete from klines where open_time >= '2024-03-10'`;
  expect(await expectComplete()).toEqual({ hot: 30 * 24 + 48, archive: DUE - 48 });
  expect(JSON.parse((await archive('30', ...AS_OF, '--json')).stdout).rows).toBe(48);
  expect((await expectComplete()).archive).toBe(DUE);
});

test('archive: moves the other tables when one is refused, and reports it', async () => {
  const { sql, env, fake, archive } = await setUp();
  for (const symbol of ['ADA/USDT', 'ETH/USDT']) {
    const words = [symbol, '--interval', '1h', '--since', '2024-01-01', '--until', '2024-03-01'];
    await runScript('fetch-history', words, { ...env, ...fake.env });
  }
  await sql`create table btc_usdt_archive (note text)`;
  const dry = await archive('30', ...AS_OF, '--dry-run');
  expect(dry.exitCode).toBe(EXIT.failed);
  expect(dry.stdout).toMatch(/eth_usdt +eth_usdt_archive +936 /);
  expect(dry.stdout).not.toContain('btc_usdt  ');
  expect(dry.stdout).toMatch(/1 FAILED:\n {2}BTC\/USDT: btc_usdt_archive differs from btc_usdt: /);
  const result = await archive('30', ...AS_OF);
  expect(result.exitCode).toBe(EXIT.failed);
  expect(result.stdout).toMatch(/ETH\/USDT: 936 candles moved/);
  expect(result.stdout).toMatch(
    /1 FAILED:\n {2}BTC\/USDT: btc_usdt_archive differs from btc_usdt: /,
  );
  expect(await sql`select outcome, detail from archive_runs`).toEqual([
    { outcome: 'refused', detail: expect.stringContaining('BTC/USDT: btc_usdt_archive differs') },
  ]);
});

test('archive: vacuums and analyzes both tables', async () => {
  const { sql, archive } = await setUp();
  await archive('30', ...AS_OF);
  // The server publishes these counts late, up to version 14 by half a second and more.
  const counts = () => sql`
    select relname, vacuum_count::int as vacuumed, analyze_count::int as analyzed
    from pg_stat_user_tables where relname in ('btc_usdt', 'btc_usdt_archive') order by 1`;
  await expect.poll(counts, { timeout: 60_000 }).toEqual([
    { relname: 'btc_usdt', vacuumed: 1, analyzed: 1 },
    { relname: 'btc_usdt_archive', vacuumed: 1, analyzed: 1 },
  ]);
  const [stored] = await sql`
    select array_to_string(reloptions, ' ') as options from pg_class where relname = 'btc_usdt_archive'`;
  expect(stored?.options).toMatch(/fillfactor=100 autovacuum_freeze_min_age=0 /);
});

test('archive: warns of an old transaction and waits for a lagging replica', async () => {
  const { sql, env, archive, expectComplete } = await setUp();
  // Views that hide those of pg_catalog: they come earlier on the search path.
  await sql.unsafe(`
    create schema shown;
    create view shown.pg_stat_activity as
      select pid, usename, application_name, 'client backend' as backend_type, datname, wait_event_type,
        state, state_change, '1'::xid as backend_xmin, backend_xid, now() - interval '1 hour' as xact_start
      from pg_catalog.pg_stat_activity where application_name = 'klinekeep tests' and pid <> pg_backend_pid();
    create table shown.lag (replay_lag interval);
    insert into shown.lag values ('1 second');
    create view shown.pg_stat_replication as select replay_lag from shown.lag;
    do $$ begin
      execute format('alter database %I set search_path = public, shown, pg_catalog', current_database());
    end $$`);
  await sql.unsafe(`
    create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.02); return new; end $$;
    create trigger dawdle after insert on archive_batches for each row execute function dawdle()`);
  const running = runScript('archive', ['30', ...AS_OF, '--batch', '20'], env);
  while ((await sql`select 1 from archive_batches limit 1`).length === 0) await sleep(10);
  await sql`update shown.lag set replay_lag = '1 minute'`;
  // Until no batch has moved for a second.
  for (let [before, still] = [-1, 0]; still < 10; await sleep(100)) {
    const [moved] = await sql`select count(*)::int as batches from archive_batches`;
    still = moved!.batches === before ? still + 1 : 0;
    before = moved!.batches;
  }
  expect((await expectComplete()).archive).toBeLessThan(DUE);
  await sql`update shown.lag set replay_lag = '1 second'`;
  const result = await running;
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stderr).toMatch(
    /process \d+ \(.*klinekeep tests\) has had a transaction open since/,
  );
  expect(result.stderr).toContain(
    'BTC/USDT: waiting, a replica lags by 1m 00s; wanted at most 10s',
  );
  expect((await expectComplete()).archive).toBe(DUE);
  expect((await archive('30', ...AS_OF)).exitCode).toBe(EXIT.done);
});

test('archive: moves the values of a column added by a schema file', async () => {
  const { sql, env, archive, expectComplete } = await setUp();
  await archive('100', ...AS_OF);
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-schema-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await cp(resolve(PROJECT_DIR, 'sql/schema'), folder, { recursive: true });
  await writeFile(
    join(folder, '900_note.sql'),
    '-- A note on each candle\nalter table klines add column note text;\nalter table klines_archive add column note text;\n',
  );
  expect(await migrate(sql, folder)).toEqual(['900_note.sql']);
  await sql`update klines set note = 'seen ' || open_time::text`;
  // The checkout of the scripts has no such file.
  await sql`delete from schema_files where name = '900_note.sql'`;
  const result = await runScript('archive', ['30', ...AS_OF], env);
  expect(result.stdout).toContain('1,680 candles moved');
  const [noted] = await sql`
    select count(note)::int as notes, bool_and(note = 'seen ' || open_time::text) as right from klines_archive`;
  expect(noted).toEqual({ notes: 1680, right: true });
  expect((await expectComplete()).archive).toBe(DUE);
  await expectLedger({ sql });
});

test.each([
  ['x'.repeat(55), EXIT.done],
  ['é'.repeat(27), EXIT.done],
  ['x'.repeat(56), EXIT.failed],
  ['é'.repeat(28), EXIT.failed],
  ['x'.repeat(63), EXIT.failed],
])('archive: table %s exits with %i', async (table, exitCode) => {
  const database = await freshDatabase();
  const { sql } = database;
  await sql`alter table instruments drop constraint instruments_table_name_check`;
  await makeCandles(database, { table, rows: 100, from: '2024-01-01' });
  const result = await runScript('archive', ['30', ...AS_OF], { DATABASE_URL: database.url });
  expect(result.exitCode).toBe(exitCode);
  if (exitCode === EXIT.failed)
    expect(result.stdout).toContain('wanted at most 55. No row was moved');
  expect(await expectReference(database)).toEqual(
    exitCode === EXIT.done ? { hot: 0, archive: 100 } : { hot: 100, archive: 0 },
  );
});

test('archive: ignores the time zone of the database', async () => {
  const database = await freshDatabase();
  const { sql } = database;
  await makeCandles(database, { rows: 3 * 1440, from: '2024-03-09T00:00Z' });
  await sql.unsafe(`do $$ begin
    execute format('alter database %I set timezone = %L', current_database(), 'America/New_York');
  end $$`);
  const words = ['30', '--as-of', '2024-04-09T23:59Z', '--batch', '200'];
  const result = await runScript('archive', words, { DATABASE_URL: database.url });
  expect(result.stdout).toContain('1,440 candles older than 2024-03-10 moved');
  const range = ['--from', '2024-03-09T06:30Z', '--to', '2024-03-09T07:30Z'];
  await runScript('restore', ['BTC/USDT', ...range], { DATABASE_URL: database.url });
  expect(await expectReference(database)).toEqual({ hot: 2 * 1440 + 60, archive: 1440 - 60 });
});
