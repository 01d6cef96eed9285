/** What others do at the same time: writers, a second archiver, lock holders, triggers, a full disk. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { Database } from '../../lib/postgres/connection.ts';
import { freshDatabase } from '../support/database.ts';
import { serverWithFullDisk } from '../support/full-disk.ts';
import { seededRandom } from '../support/random.ts';
import { runScript } from '../support/script.ts';
import { expectLedger, expectReference, makeCandles } from '../support/tiers.ts';

const FROM = '2024-01-01';
const ROWS = 3_000;

async function setUp(rows = ROWS) {
  const database = await freshDatabase();
  await makeCandles(database, { rows, from: FROM });
  return { database, sql: database.sql, ...scriptsOn(database.url) };
}

function scriptsOn(url: string) {
  const env = { DATABASE_URL: url };
  return {
    archive: (...words: string[]) =>
      runScript('archive', ['10', '--as-of', '2024-03-01', ...words], env),
    restore: (...words: string[]) =>
      runScript('restore', ['BTC/USDT', '--from', FROM, '--to', '2024-03-01', ...words], env),
  };
}

async function expectAllArchived(database: Database, rows = ROWS): Promise<void> {
  expect(await expectReference(database)).toEqual({ hot: 0, archive: rows });
}

test('a candle that the archive holds too: equal, one copy goes; different, the newer one stays and both are logged', async () => {
  const { database, sql, archive } = await setUp();
  await archive();
  await sql`insert into klines select * from klines_archive where open_time < '2024-01-01 00:10'`;
  // Equal but for its times; newer and different; older and different.
  await sql`update klines set updated_at = '2024-02-01', created_at = '2024-02-01' where open_time = ${FROM}`;
  await sql`update klines set volume = 77.5, updated_at = '2024-02-01' where open_time = '2024-01-01 00:01'`;
  await sql`update klines set volume = 88.5, updated_at = '2023-02-01' where open_time = '2024-01-01 00:02'`;
  await sql`update reference set volume = 77.5, updated_at = '2024-02-01' where open_time = '2024-01-01 00:01'`;

  const result = await archive('--json');
  expect(result.exitCode).toBe(EXIT.done);
  expect(JSON.parse(result.stdout)).toMatchObject({
    ...{ rows: 1, rowsLeft: 0, equalRows: 8, conflictRows: 2 },
    tables: [{ symbol: 'BTC/USDT', rows: 1, equalRows: 8, conflictRows: 2 }],
  });
  await expectAllArchived(database);
  const [batch] = await sql`
    select c->>'kept' as kept, (c->'source'->>'volume')::float8 as source, (c->'target'->>'volume')::float8 as target,
      c2->>'kept' as kept2, (c2->'source'->>'volume')::float8 as source2, (c2->'target'->>'volume')::float8 as target2
    from (select conflicts->0 as c, conflicts->1 as c2 from archive_batches where conflict_rows > 0) as logged`;
  expect(batch).toEqual({
    ...{ kept: 'source', source: 77.5, target: 1 },
    ...{ kept2: 'target', source2: 88.5, target2: 2 },
  });
});

test('the summary names conflicts, and archive-log counts them', async () => {
  const { sql, archive } = await setUp(10);
  await archive();
  await sql`insert into klines select * from klines_archive where open_time = ${FROM}`;
  await sql`update klines set volume = 5, updated_at = now()`;
  const { stdout } = await archive();
  expect(stdout).toMatch(
    /1 DIFFERED between the tiers; the newer one stayed, both are in archive_batches.conflicts of run 2/,
  );
});

test('restore settles the same way, backwards', async () => {
  const { sql, archive, restore } = await setUp(100);
  await archive();
  await sql`insert into klines select * from klines_archive where open_time < '2024-01-01 00:10'`;
  await sql`update klines set volume = 77.5, updated_at = '2024-02-01' where open_time = '2024-01-01 00:01'`;
  await sql`update klines_archive set volume = 66.5, updated_at = '2024-02-01' where open_time = '2024-01-01 00:02'`;
  await sql`update reference set volume = 77.5, updated_at = '2024-02-01' where open_time = '2024-01-01 00:01'`;
  await sql`update reference set volume = 66.5, updated_at = '2024-02-01' where open_time = '2024-01-01 00:02'`;
  const result = await restore('--json');
  expect(JSON.parse(result.stdout)).toMatchObject({ rows: 91, equalRows: 8, conflictRows: 2 });
  const [stored] = await sql`
    select (select count(*)::int from klines) as hot, (select count(*)::int from klines_archive) as archive,
      (select count(*)::int from (select * from klines except select * from reference) as x) as surplus`;
  expect(stored).toEqual({ hot: 100, archive: 0, surplus: 0 });
});

test('a writer that corrects and adds candles of the range meanwhile loses nothing', async () => {
  const { database, sql, archive } = await setUp();
  const random = seededRandom();
  const writer = database.openSession();
  let isOver = false;
  onTestFinished(() => {
    isOver = true;
  });
  // Knows nothing of locks or archives, like any other program; says in the same transaction what it wrote.
  const writing = (async () => {
    for (let n = 0; !isOver; n++) {
      const at = new Date(Date.parse(FROM) + Math.floor(random() * ROWS * 1.1) * 60_000);
      await writer.begin(async (tx) => {
        for (const table of ['klines', 'reference']) {
          await tx`delete from reference where ${table === 'reference'} and open_time = ${at}`;
          await tx`
            insert into ${tx(table)} as k
            select 1, '1m', ${at}::timestamptz, ${at}::timestamptz, 1, 2, 3, 4, ${n}, 6, 7, 8, 9, now(), now()
            ${
              table === 'klines'
                ? tx`on conflict (instrument_id, interval, open_time) do update set
              close_time = excluded.close_time, open_price = 1, high_price = 2, low_price = 3, close_price = 4,
              volume = excluded.volume, quote_volume = 6, trades_count = 7, taker_buy_volume = 8,
              taker_buy_quote_volume = 9, created_at = now(), updated_at = now()`
                : tx``
            }`;
        }
      });
    }
  })();
  for (let run = 0; run < 4; run++) {
    expect([EXIT.done, EXIT.later]).toContain((await archive('--batch', '150')).exitCode);
  }
  isOver = true;
  await writing;
  expect((await archive()).exitCode).toBe(EXIT.done);
  const [count] = await sql`select count(*)::int as rows from reference`;
  await expectAllArchived(database, count?.rows);
});

test('a candle that is corrected while its batch waits for it: the batch is tried again and moves the correction', async () => {
  const { database, sql, archive } = await setUp();
  const writer = database.openSession();
  let running: ReturnType<typeof archive> | undefined;
  await writer.begin(async (tx) => {
    await tx`update klines set volume = 4711, updated_at = now() where open_time = '2024-01-01 12:00'`;
    await tx`update reference set volume = 4711, updated_at = now() where open_time = '2024-01-01 12:00'`;
    running = archive();
    while (!(await waitsForLock(sql))) await sleep(10);
  });
  expect((await running)?.exitCode).toBe(EXIT.done);
  await expectAllArchived(database);
});

test('a deadlock with another writer ends well for both or is tried again', async () => {
  const { database, sql, archive } = await setUp();
  await sql`alter database ${sql(new URL(database.url).pathname.slice(1))} set deadlock_timeout = '20ms'`.catch(
    () => {
      // Only a superuser may; for others the test takes longer.
    },
  );
  const writer = database.openSession();
  const running: Promise<unknown>[] = [];
  await writer
    .begin(async (tx) => {
      // The later candle first, so that the two meet crosswise.
      await tx`update klines set volume = 4711, updated_at = now() where open_time = '2024-01-02 12:00'`;
      const result = archive().then(({ exitCode }) => expect(exitCode).toBe(EXIT.done));
      running.push(result);
      while (!(await waitsForLock(sql))) await sleep(10);
      await tx`update klines set volume = 4711, updated_at = now() where open_time = '2024-01-01 00:01'`;
      await tx`update reference set volume = 4711, updated_at = now() where open_time in ('2024-01-02 12:00', '2024-01-01 00:01')`;
    })
    .catch((error) => expect(error.code).toBe('40P01'));
  await Promise.all(running);
  await expectAllArchived(database);
});

async function waitsForLock(sql: Database['sql']): Promise<boolean> {
  const rows = await sql`
    select 1 from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and application_name = 'klinekeep archive'`;
  return rows.length > 0;
}

test.each(['access exclusive', 'share update exclusive'])(
  'a table that somebody else has locked (%s): no reader waits behind us; 75 if the lock stays',
  async (mode) => {
    const { database, sql, archive } = await setUp();
    await archive();
    await sql`truncate klines_archive, archive_batches`;
    await sql`insert into klines select * from reference`;
    const other = database.openSession();
    const result = await other.begin(async (tx) => {
      await tx.unsafe(`lock table btc_usdt_archive in ${mode} mode`);
      return await archive('--json');
    });
    if (mode === 'access exclusive') {
      expect(result.exitCode).toBe(EXIT.later);
      expect(JSON.parse(result.stdout)).toMatchObject({ rows: 0, rowsLeft: ROWS });
      expect(JSON.parse(result.stdout).stopped[0].reason).toContain('55P03');
      expect((await archive()).exitCode).toBe(EXIT.done);
    } else expect(result.exitCode).toBe(EXIT.done);
    await expectAllArchived(database);
  },
);

test('an archive table that cannot be attached for a lock is left to the next run: 75', async () => {
  const { database, archive } = await setUp();
  const other = database.openSession();
  const result = await other.begin(async (tx) => {
    await tx`lock table klines_archive in share update exclusive mode`;
    return await archive('--json');
  });
  expect(result.exitCode).toBe(EXIT.later);
  expect(JSON.parse(result.stdout).stopped).toEqual([
    { symbol: 'BTC/USDT', reason: 'another session has locked its tables' },
  ]);
  expect((await archive()).exitCode).toBe(EXIT.done);
  await expectAllArchived(database);
});

test('making and attaching an archive table waits for nobody who reads or writes, and nobody waits for it', async () => {
  const { database, sql, archive } = await setUp();
  const reader = database.openSession();
  await reader.begin(async (tx) => {
    await tx`select count(*) from all_klines`;
    await tx`insert into klines select 1, '1m', '2024-02-29', '2024-02-29', 1, 1, 1, 1, 1, 1, 1, 1, 1, now(), now()`;
    expect((await archive()).exitCode).toBe(EXIT.done);
    const [count] = await tx`select count(*)::int as rows from all_klines`;
    expect(count?.rows).toBe(ROWS + 1);
  });
  await sql`delete from klines where open_time = '2024-02-29'`;
  await expectAllArchived(database);
});

test('who reads all_klines by instrument has no table but candles in the plan', async () => {
  const { sql } = await setUp();
  const plan = await sql`
    explain (format json) select sum(volume) from all_klines where instrument_id = 1 and interval = '1m'`;
  expect(JSON.stringify(plan)).toContain('"btc_usdt"');
  expect(JSON.stringify(plan)).not.toContain('"instruments"');
});

test('two archivers and a restore at once: one works, the others say 75, and all is there once', async () => {
  const { database, archive, restore } = await setUp();
  for (let round = 0; round < 5; round++) {
    const codes = (
      await Promise.all([
        archive('--batch', '100'),
        archive('--batch', '70'),
        restore('--batch', '90'),
      ])
    ).map(({ exitCode }) => exitCode);
    expect(codes.every((code) => code === EXIT.done || code === EXIT.later)).toBe(true);
    await expectReference(database);
  }
  await database.sql`delete from restored_ranges`;
  expect((await archive()).exitCode).toBe(EXIT.done);
  await expectAllArchived(database);
});

test.each([
  ['a trigger that swallows a candle', 'insert', 'new', 'return null;'],
  ['a trigger that alters a candle', 'insert', 'new', 'new.volume := 0; return new;'],
  ['a trigger that keeps a candle from being deleted', 'delete', 'old', 'return null;'],
])('%s: the batch is not proven, and rolled back', async (_, event, row, body) => {
  const { database, sql, archive } = await setUp();
  await sql`create table if not exists btc_usdt_archive (like btc_usdt including all)`;
  await sql`alter table klines_archive attach partition btc_usdt_archive for values in (1)`;
  await sql.unsafe(`
    create function meddle() returns trigger language plpgsql as $$ begin
      if ${row}.open_time = '2024-01-02' then ${body} end if;
      return ${row};
    end $$;
    create trigger meddle before ${event} on btc_usdt${row === 'old' ? '' : '_archive'}
      for each row execute function meddle()`);
  const result = await archive('--batch', '500');
  expect(result.exitCode).toBe(EXIT.failed);
  expect(result.stdout).toContain('The batch was rolled back.');
  const { archive: archived } = await expectReference(database);
  expect(archived).toBeGreaterThan(0);
  expect(archived).toBeLessThan(ROWS);
  await sql.unsafe(`drop function meddle() cascade`);
  expect((await archive()).exitCode).toBe(EXIT.done);
  await expectAllArchived(database);
});

test.each([
  ['after the delete', 'after delete on btc_usdt for each statement', ''],
  ['when the batch is logged', 'after insert on archive_batches for each row', ''],
  [
    'during commit',
    'after insert on archive_batches deferrable initially deferred for each row',
    'constraint',
  ],
])('a batch that fails %s is taken back, and the next run finishes', async (_, event, kind) => {
  const { database, sql, archive } = await setUp();
  await sql.unsafe(`
    create function fail() returns trigger language plpgsql as $$ begin
      if (select count(*) from archive_batches) >= 3 then raise exception 'injected'; end if;
      return null;
    end $$;
    create ${kind} trigger fail ${event} execute function fail()`);
  const result = await archive('--batch', '300', '--json');
  expect(result.exitCode).toBe(EXIT.failed);
  expect(result.stdout).toContain('injected');
  const { archive: archived } = await expectReference(database);
  expect(JSON.parse(result.stdout)).toMatchObject({ rows: archived, rowsLeft: ROWS - archived });
  await sql`drop function fail() cascade`;
  expect((await archive()).exitCode).toBe(EXIT.done);
  await expectAllArchived(database);
});

test('a disk that fills up leaves whole batches; with more room the next run finishes', async () => {
  const database = await serverWithFullDisk();
  const { archive } = scriptsOn(database.url);
  for (const [from, rows] of [
    ['2023-08-01', 85_000],
    ['2023-10-01', 85_000],
  ] as const) {
    await makeCandles(database, { from, rows });
    const result = await archive('--json');
    if (from === '2023-08-01') expect(result.exitCode).toBe(EXIT.done);
    else {
      expect(result.exitCode).toBe(EXIT.failed);
      expect(result.stderr).toContain('could not extend file');
    }
    await expectReference(database);
  }
  const { hot } = await expectReference(database);
  expect(hot).toBeGreaterThan(0);
  const roomier = await database.withMoreRoom();
  expect((await scriptsOn(roomier.url).archive()).exitCode).toBe(EXIT.done);
  expect(await expectReference(roomier)).toEqual({ hot: 0, archive: 170_000 });
  await expectLedger(roomier);
});
