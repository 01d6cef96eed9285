import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { freshDatabase } from '../support/database.ts';
import { runScript, startScript } from '../support/script.ts';
import { expectLedger, expectReference, makeCandles } from '../support/tiers.ts';

const AS_OF = ['--as-of', '2024-03-01'];
const FROM = '2024-01-01';
const ROWS = 5_000;
const RANGE = ['--from', '2024-01-02', '--to', '2024-01-03'];
const DAY = 1_440;

/** Half a week of 1m candles, all of them archived. */
async function setUp() {
  const database = await freshDatabase();
  await makeCandles(database, { rows: ROWS, from: FROM });
  const run = (name: string, ...words: string[]) =>
    runScript(name, words, { DATABASE_URL: database.url });
  const archive = (...words: string[]) => run('archive', '10', ...AS_OF, ...words);
  const restore = (...words: string[]) => run('restore', 'BTC/USDT', ...words);
  expect((await archive()).exitCode).toBe(EXIT.done);
  return { database, sql: database.sql, run, archive, restore };
}

test('restore: brings a range back, which archive does not move before a date', async () => {
  const { database, sql, archive, restore } = await setUp();
  const result = await restore(...RANGE);
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stdout).toMatch(
    /BTC\/USDT: 1,440 candles moved to btc_usdt\n1,440 candles from 2024-01-02 to 2024-01-03 restored; archive will not move them before 20\d\d-/,
  );
  expect(await expectReference(database)).toEqual({ hot: DAY, archive: ROWS - DAY });

  expect((await archive('--dry-run')).stdout).toContain('No candle is older');
  expect(JSON.parse((await archive('--json')).stdout)).toMatchObject({ rows: 0, outcome: 'done' });
  expect(await expectReference(database)).toEqual({ hot: DAY, archive: ROWS - DAY });

  await sql`update restored_ranges set keep_until = now() - interval '1 second'`;
  expect(JSON.parse((await archive('--json')).stdout)).toMatchObject({ rows: DAY });
  expect(await expectReference(database)).toEqual({ hot: 0, archive: ROWS });
});

test('archive: moves what lies beside a kept range, as --dry-run predicts', async () => {
  const { database, sql, archive, restore } = await setUp();
  await restore('--from', '2024-01-01', '--to', '2024-01-05');
  await sql`update restored_ranges set from_time = '2024-01-02 06:00', to_time = '2024-01-02 12:00'`;
  const plan = JSON.parse((await archive('--dry-run', '--json')).stdout);
  expect(plan.tables).toMatchObject([{ table: 'btc_usdt', rows: ROWS - 360, batches: 2 }]);
  const run = JSON.parse((await archive('--json')).stdout);
  expect(run.tables).toMatchObject([{ rows: ROWS - 360, batches: 2 }]);
  expect(await expectReference(database)).toEqual({ hot: 360, archive: ROWS - 360 });
});

test('restore --keep-until: replaces the date of the same range', async () => {
  const { sql, restore } = await setUp();
  await restore(...RANGE, '--keep-until', '2099-01-01');
  const until = () => sql`select interval, keep_until, run_id::int from restored_ranges`;
  expect(await until()).toEqual([
    { interval: '1m', keep_until: new Date('2099-01-01'), run_id: 2 },
  ]);
  expect((await restore(...RANGE, '--keep-until', '2098-01-01')).stdout).toMatch(/^0 candles/);
  await sql`delete from restored_ranges`;
});

test('archive: leaves alone what was restored after its plan was made', async () => {
  const { database, sql, archive, restore } = await setUp();
  await restore('--from', '2024-01-01', '--to', '2024-01-05');
  await sql`delete from restored_ranges`;
  // Once archive has made its plan the range is kept.
  await sql.unsafe(`
    create function keep() returns trigger language plpgsql as $$ begin
      insert into restored_ranges values (1, '1m', '2024-01-02', '2024-01-03', now() + interval '1 day', new.id);
      return new;
    end $$;
    create trigger keep after insert on archive_runs for each row execute function keep()`);
  await archive();
  expect(await expectReference(database)).toEqual({ hot: DAY, archive: ROWS - DAY });
});

test('restore --dry-run: shows candles, batches, bytes; changes nothing', async () => {
  const { database, restore, sql } = await setUp();
  const dry = await restore(...RANGE, '--dry-run', '--batch', '500');
  expect(dry.stdout).toMatch(
    /from +to +candles +batches +bytes\nbtc_usdt_archive +btc_usdt +1,440 +3 +1\d\d\.\d kB/,
  );
  expect(await sql`select 1 from restored_ranges`).toHaveLength(0);
  expect(await expectReference(database)).toEqual({ hot: 0, archive: ROWS });
  expect((await restore('--from', '2020-01-01', '--to', '2020-02-01', '--dry-run')).stdout).toBe(
    'No candle from 2020-01-01 to 2020-02-01 is archived.\n',
  );
});

test('restore: moves nothing when the range is not archived', async () => {
  const { restore, sql } = await setUp();
  const result = await restore('--from', '2020-01-01', '--to', '2020-02-01');
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stdout).toMatch(/^0 candles from 2020-01-01/);
  expect(await sql`select 1 from restored_ranges`).toHaveLength(0);
});

test('restore: reverses archive for any candles and batch size', async () => {
  const database = await freshDatabase();
  const { sql } = database;
  await makeCandles(database, { rows: 1, from: FROM });
  const run = (name: string, ...words: string[]) =>
    runScript(name, words, { DATABASE_URL: database.url });
  const minute = fc.integer({ min: 0, max: 20_000 });
  const candle = fc.record({
    minute,
    offMs: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 59_000 })),
    price: fc.bigInt({ min: 1n, max: 10n ** 27n }),
    isUpdated: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(candle, { maxLength: 60, selector: (each) => each.minute }),
      fc.constantFrom('1m', '1h', '1d', '1w', '1M'),
      fc.integer({ min: 1, max: 100 }),
      minute,
      minute,
      async (candles, interval, batch, a, b) => {
        await sql`truncate klines, klines_archive, archive_batches, restored_ranges, reference`;
        for (const { minute, offMs, price, isUpdated } of candles) {
          const at = new Date(Date.parse(FROM) + minute * 60_000 + offMs);
          const exact = `${price / 10n ** 8n}.${String(price % 10n ** 8n).padStart(8, '0')}`;
          await sql`
            insert into klines values (
              1, ${interval}, ${at}, ${at}, ${exact}, ${exact}, ${exact}, ${exact}, ${exact}, 0, 1, 0, ${exact},
              '2024-02-01 00:00:00.123456', ${isUpdated ? '2024-02-02 03:04:05.678901' : '2024-02-01'}
            )`;
        }
        await sql`insert into reference select * from klines`;
        expect((await run('archive', '10', ...AS_OF, '--batch', String(batch))).exitCode).toBe(0);
        expect((await expectReference(database)).hot).toBe(0);

        const [from, to] = [Math.min(a, b), Math.max(a, b) + 1].map((each) =>
          new Date(Date.parse(FROM) + each * 60_000).toISOString(),
        );
        const words = ['BTC/USDT', '--from', from!, '--to', to!, '--batch', String(batch)];
        expect((await run('restore', ...words)).exitCode).toBe(0);
        const { hot } = await expectReference(database);
        const [inside] = await sql`
          select count(*)::int as rows from reference where open_time >= ${from!} and open_time < ${to!}`;
        expect(hot).toBe(inside?.rows);
        const all = ['BTC/USDT', '--from', '2023-01-01', '--to', '2025-01-01'];
        expect((await run('restore', ...all)).exitCode).toBe(0);
        expect((await expectReference(database)).archive).toBe(0);
        await expectLedger(database);
      },
    ),
    { numRuns: Number(process.env.KLINEKEEP_KILL_ROUNDS ?? 15), verbose: 1 },
  );
});

test('archive-log: lists who moved what, when, and how it ended', async () => {
  const { database, run, restore } = await setUp();
  await restore(...RANGE, '--batch', '1000');
  const text = (await run('archive-log')).stdout;
  expect(text).toMatch(/run +verb +started \(UTC\) +by +range +candles +batches/);
  expect(text).toMatch(/2 +restore .*2024-01-02 to 2024-01-03 +1,440 +2 +0 +\d+s +done/);
  expect(text).toMatch(/1 +archive .* to 2024-02-20 +5,000 +1 +0 +\d+s +done/);

  const { runs } = JSON.parse((await run('archive-log', '--json', '--limit', '1')).stdout);
  expect(runs).toMatchObject([
    { id: '2', verb: 'restore', movedRows: DAY, outcome: 'done', from: '2024-01-02T00:00:00.000Z' },
  ]);
  const one = JSON.parse((await run('archive-log', '--run', '2', '--json')).stdout);
  expect(one.batches).toMatchObject([
    { symbol: 'BTC/USDT', interval: '1m', movedRows: 1_000, direction: 'restore' },
    { movedRows: 440, durationMs: expect.any(Number) },
  ]);
  expect((await run('archive-log', '--run', '2')).stdout).toContain('content hash');
  expect((await run('archive-log', '--run', '9')).exitCode).toBe(EXIT.data);
  expect((await run('archive-log', '--run', 'x')).exitCode).toBe(EXIT.usage);

  await makeCandles(database, { symbol: 'ETH/USDT', table: 'eth_usdt', rows: 10, from: FROM });
  await run('archive', '10', ...AS_OF, '--symbol', 'ETH/USDT');
  const eth = JSON.parse((await run('archive-log', '--symbol', 'ETH/USDT', '--json')).stdout);
  expect(eth.runs.map((each: { id: string }) => each.id)).toEqual(['3']);
});

test('archive-log: reports that there is no run yet', async () => {
  const { url } = await freshDatabase();
  const result = await runScript('archive-log', [], { DATABASE_URL: url });
  expect(result.stdout).toBe('No archive or restore run found.\n');
});

test.each([
  [[], 'SYMBOL is missing'],
  [['BTC/USDT'], '--from is missing'],
  [['BTC/USDT', '--from', '2024-01-01'], '--to is missing'],
  [['BTC/USDT', '--from', '2024-02-01', '--to', '2024-01-01'], 'is not before --to'],
  [['BTC/USDT', '--from', 'x', '--to', '2024-01-01'], '--from is "x"'],
  [['BTC/USDT', ...RANGE, '--keep-until', '2020-01-01'], '--keep-until 2020-01-01 has passed'],
  [['BTC/USDT', ...RANGE, '--max-runtime', '10'], '--max-runtime is "10"'],
  [['BTC/USDT', ...RANGE, '--max-runtime', '0m'], '--max-runtime is "0m"'],
  [['BTC/USDT', ...RANGE, '--interval', '7m'], '--interval is "7m"'],
  [['BTC/USDT/X', ...RANGE], 'is not a symbol'],
  [['BTC/USDT', ...RANGE, '--force'], "Unknown option '--force'"],
])('restore %j: exits with 64', async (words, found) => {
  const result = await runScript('restore', words);
  expect(result.exitCode).toBe(EXIT.usage);
  expect(result.stderr).toContain(found);
});

test('archive, restore, archive-log: exit with 65 for an unknown symbol', async () => {
  const { url } = await freshDatabase();
  for (const [name, words] of [
    ['restore', ['DOGE/USDT', ...RANGE]],
    ['archive', ['10', '--symbol', 'DOGE/USDT']],
    ['archive-log', ['--symbol', 'DOGE/USDT']],
  ] as const) {
    const result = await runScript(name, words, { DATABASE_URL: url });
    expect(result.exitCode).toBe(EXIT.data);
    expect(result.stderr).toContain('Not registered: DOGE/USDT');
  }
});

test('archive, restore: exit with 69 without a server, 78 for a newer schema', async () => {
  const { sql, url } = await freshDatabase();
  await sql`insert into schema_files (name, sha256) values ('999_future.sql', '')`;
  for (const [name, words] of [
    ['restore', ['BTC/USDT', ...RANGE]],
    ['archive', ['10']],
  ] as const) {
    expect((await runScript(name, words)).exitCode).toBe(EXIT.unavailable);
    const newer = await runScript(name, words, { DATABASE_URL: url });
    expect(newer.exitCode).toBe(EXIT.config);
  }
});

test('restore: exits with 75 when another run works on the instrument', async () => {
  const { database, restore } = await setUp();
  const other = database.openSession();
  onTestFinished(() => void other.end());
  await other`select pg_advisory_lock(lock_class(${0x6b6c}), 1)`;
  const result = await restore(...RANGE);
  expect(result.exitCode).toBe(EXIT.later);
  expect(result.stdout).toContain('1,440 candles left; run it again to continue');
  expect(result.stdout).toContain('1 skipped, locked by another run: BTC/USDT');
  expect(await expectReference(database)).toEqual({ hot: 0, archive: ROWS });
});

test.each([
  ['restore', 'SIGINT', 130],
  ['restore', 'SIGTERM', 143],
  ['archive', 'SIGINT', 130],
] as const)('%s: ends between two batches at %s with %i', async (name, signal, code) => {
  const { database, sql, restore } = await setUp();
  const all = ['--from', FROM, '--to', '2024-03-01'];
  if (name === 'archive') await restore(...all);
  await sql`delete from restored_ranges`;
  const [before] = await sql`select max(id)::int as id from archive_runs`;
  const words = name === 'archive' ? ['10', ...AS_OF] : ['BTC/USDT', ...all];
  const running = startScript(name, [...words, '--batch', '1'], { DATABASE_URL: database.url });
  while ((await sql`select 1 from archive_batches where run_id > ${before!.id}`).length === 0) {
    await sleep(10);
  }
  running.process.kill(signal);
  const result = await running.result;
  expect(result.exitCode).toBe(code);
  const [last] = await sql`
    select outcome, detail from archive_runs order by id desc limit 1`;
  expect(last).toEqual({
    outcome: 'work remaining',
    detail: `stopped by ${signal}`,
  });
  const left = (await expectReference(database))[name === 'archive' ? 'hot' : 'archive'];
  expect(result.stdout).toContain(`${left.toLocaleString('en-US')} candles left; run it again`);
});

test('restore --max-runtime: exits with 75 and reports the candles left', async () => {
  const { database, sql, restore } = await setUp();
  await sql.unsafe(`
    create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.03); return new; end $$;
    create trigger dawdle after insert on archive_batches for each row execute function dawdle()`);
  const result = await restore(...RANGE, '--batch', '10', '--max-runtime', '1s', '--json');
  expect(result.exitCode).toBe(EXIT.later);
  const { rows, rowsLeft } = JSON.parse(result.stdout);
  expect(rows + rowsLeft).toBe(DAY);
  expect(await expectReference(database)).toEqual({ hot: rows, archive: ROWS - rows });
});

test('restore: exits with 1 when a batch is not proven', async () => {
  const { database, sql, restore } = await setUp();
  await sql.unsafe(`
    create function lose() returns trigger language plpgsql as $$ begin
      return case when new.open_time = '2024-01-02 12:00' then null else new end;
    end $$;
    create trigger lose before insert on btc_usdt for each row execute function lose()`);
  const result = await restore(...RANGE);
  expect(result.exitCode).toBe(EXIT.failed);
  expect(result.stdout).toContain(
    'Of 1440 candles 1439 were copied, 1439 arrived and 1440 were deleted',
  );
  expect(await expectReference(database)).toEqual({ hot: 0, archive: ROWS });
});
