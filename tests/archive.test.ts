import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../lib/errors.ts';
import { freshDatabase } from './support/database.ts';
import { startFakeBinance } from './support/fake-binance/server.ts';
import { fetchReference } from './support/reference.ts';
import { runScript, startScript } from './support/script.ts';

const AS_OF = ['--as-of', '2024-03-10T18:00Z'];
const CUTOFF = Date.UTC(2024, 1, 9);
const DUE = (CUTOFF - Date.UTC(2023, 9, 1)) / 3_600_000;

/** 161 days of 1h candles, of which 131 are due. */
async function setUp() {
  const fake = await startFakeBinance({ nowMs: Date.UTC(2024, 2, 12) });
  onTestFinished(() => fake.close());
  const database = await freshDatabase();
  const env = { DATABASE_URL: database.url };
  const reference = await fetchReference(database, fake, '2023-10-01', '2024-03-10');
  const archive = (...words: string[]) => runScript('archive', words, env);
  return { fake, database, sql: database.sql, env, archive, ...reference };
}

test('candles from before the cutoff, a UTC midnight, move; each lives in exactly one tier', async () => {
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

test('the archive table is a copy in shape, attached, and named after its instrument', async () => {
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

test('every batch is written down with its window, rows and content hash, and the run with its outcome', async () => {
  const { sql, archive } = await setUp();
  await archive('30', ...AS_OF, '--batch', '500');
  const [run] =
    await sql`select outcome, moved_rows::int, cutoff, finished_at is not null as finished from archive_runs`;
  expect(run).toEqual({
    outcome: 'done',
    moved_rows: DUE,
    cutoff: new Date(CUTOFF),
    finished: true,
  });
  const batches =
    await sql`select from_time, to_time, moved_rows, content_hash::text from archive_batches order by id`;
  expect(batches).toHaveLength(Math.ceil(DUE / 500));
  for (const batch of batches) {
    const [again] = await sql`
      select count(*)::int as moved_rows, sum(hash_record_extended(a.*, 0))::text as content_hash
      from klines_archive a where open_time >= ${batch.from_time} and open_time < ${batch.to_time}`;
    expect(again).toEqual({ moved_rows: batch.moved_rows, content_hash: batch.content_hash });
  }
});

test('--dry-run tells tables, candles and bytes, and changes nothing', async () => {
  const { sql, archive, expectComplete } = await setUp();
  const result = await archive('30', ...AS_OF, '--dry-run');
  expect(result.stdout).toMatch(/btc_usdt +btc_usdt_archive +3,144 +\d+\.\d kB/);
  expect(await expectComplete()).toEqual({ hot: 161 * 24 });
  expect(await sql`select 1 from archive_runs`).toHaveLength(0);
  const json = JSON.parse((await archive('30', ...AS_OF, '--dry-run', '--json')).stdout);
  expect(json).toMatchObject({ dryRun: true, tables: [{ symbol: 'BTC/USDT', rows: DUE }] });
});

test('nothing due: nothing happens', async () => {
  const { archive, expectComplete } = await setUp();
  expect((await archive('300', ...AS_OF)).stdout).toContain(
    '0 candles from before 2023-05-15 moved',
  );
  expect(await expectComplete()).toEqual({ hot: 161 * 24 });
});

test('killed at random moments and run again until done, everything is there exactly once', async () => {
  const { env, expectComplete } = await setUp();
  const rounds = Number(process.env.KLINEKEEP_KILL_ROUNDS ?? 6);
  for (let round = 0; round < rounds; round++) {
    const running = startScript('archive', ['30', ...AS_OF, '--batch', '20'], env);
    await sleep(400 + Math.random() * 600);
    running.process.kill('SIGKILL');
    await running.result;
    await expectComplete();
  }
  const last = await runScript('archive', ['30', ...AS_OF], env);
  expect(last.exitCode === EXIT.done || last.stdout).toBe(true);
  expect((await expectComplete()).archive).toBe(DUE);
});

test('SIGTERM ends it between two batches with 143; the run says that work remains', async () => {
  const { sql, env, expectComplete } = await setUp();
  const running = startScript('archive', ['30', ...AS_OF, '--batch', '1'], env);
  while ((await sql`select 1 from archive_batches limit 1`).length === 0) await sleep(10);
  running.process.kill('SIGTERM');
  const result = await running.result;
  expect(result.exitCode).toBe(143);
  expect(result.stderr).toMatch(/stopped at BTC\/USDT 1h 2023-1\d-\d\d/);
  const { archive = 0 } = await expectComplete();
  expect(await sql`select outcome, moved_rows::int from archive_runs`).toEqual([
    { outcome: 'work remaining', moved_rows: archive },
  ]);
});

test.each([
  ['alter table %s add column note text', 'column 16 is note text'],
  ['alter table %s alter volume type numeric', 'column 9 is volume numeric'],
  ['alter table %s alter trades_count drop not null', 'column 11 is trades_count integer, wanted'],
])(
  'an archive table of another shape (%s) is refused before a row moves',
  async (change, found) => {
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
      { outcome: 'failed' },
    ]);
  },
);

test('a candle that something else put into the archive stops the batch, and nothing is lost', async () => {
  const { sql, archive } = await setUp();
  await archive('100', ...AS_OF);
  await sql`
    insert into klines_archive
    select * from klines where open_time = '2024-01-15'`;
  const [before] = await sql`select count(*)::int as hot from klines`;
  const result = await archive('30', ...AS_OF, '--batch', '100000');
  expect(result.exitCode).toBe(EXIT.failed);
  expect(result.stdout).toMatch(/sql\/archive\/move\.sql.*duplicate key/);
  expect(await sql`select count(*)::int as hot from klines`).toEqual([before]);
});

test('a run that fails in the middle tells how much it really moved', async () => {
  const { sql, env } = await setUp();
  await sql`alter table archive_batches add constraint three check (id <= 3)`;
  const result = await runScript('archive', ['30', ...AS_OF, '--batch', '100', '--json'], env);
  expect(result.exitCode).toBe(EXIT.failed);
  expect(JSON.parse(result.stdout)).toMatchObject({
    rows: 300,
    tables: [{ symbol: 'BTC/USDT', rows: 300 }],
  });
});

test('an instrument that another run works on is skipped: 75, and the rest moves', async () => {
  const { sql, database, env, fake, archive, expectComplete } = await setUp();
  await runScript('fetch-history', ['ETH/USDT', '--interval', '1h', '--since', '2024-01-01'], {
    ...env,
    ...fake.env,
  });
  const [eth] = await sql`select id from instruments where symbol = 'ETH/USDT'`;
  const other = database.openSession();
  await other`select pg_advisory_lock(${0x6b6c}, ${eth!.id})`;
  const result = await archive('30', ...AS_OF);
  expect(result.exitCode).toBe(EXIT.later);
  expect(result.stdout).toContain('1 held by another run, skipped: ETH/USDT');
  expect((await expectComplete()).archive).toBe(DUE);
  expect(await sql`select outcome from archive_runs`).toEqual([{ outcome: 'work remaining' }]);
});

test('--symbol and --interval narrow the run; weeks and months cut by the cutoff wait for the next one', async () => {
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
  [['30', '40'], 'More than one DAYS'],
  [['30', '--as-of', '2200-01-01'], 'in the future'],
  [['30', '--as-of', 'soon'], '--as-of is "soon"'],
  [['30', '--as-of', '9999y'], '--as-of is "9999y"'],
  [['30', '--batch', '0'], '--batch is "0"'],
  [['30', '--interval', '7m'], '--interval is "7m"'],
  [['30', '--symbol', 'BTC/USDT/X'], '"BTC/USDT/X" is no symbol here; wanted a symbol such as'],
  [['30', '--gently'], "Unknown option '--gently'"],
])('archive %j is refused with 64 before anything is opened', async (words, found) => {
  const result = await runScript('archive', words);
  expect(result.exitCode).toBe(EXIT.usage);
  expect(result.stderr).toContain(found);
  expect(result.stdout).toBe('');
});
