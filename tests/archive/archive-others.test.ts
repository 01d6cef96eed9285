/** What may interfere with a move: duplicates, writers, triggers, few connections, a full disk. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { Database } from '../../lib/postgres/connection.ts';
import { freshDatabase } from '../support/database.ts';
import { serverWithFullDisk } from '../support/full-disk.ts';
import { seededRandom } from '../support/random.ts';
import { startScript } from '../support/script.ts';
import { expectLedger, expectReference, makeCandles } from '../support/tiers.ts';
import { expectAllArchived, FROM, ROWS, scriptsOn, setUpMinutes } from './minutes.ts';

test('archive: resolves candles that both tiers hold, and logs conflicts', async () => {
  const { database, sql, archive } = await setUpMinutes();
  await archive();
  await sql`insert into klines select * from klines_archive where open_time < '2024-01-01 00:10'`;
  // One is equal except for its times, one is newer and different, one is older and different.
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

test('archive: reports conflicts and the run that logged them', async () => {
  const { sql, archive } = await setUpMinutes(10);
  await archive();
  await sql`insert into klines select * from klines_archive where open_time = ${FROM}`;
  await sql`update klines set volume = 5, updated_at = now()`;
  const { stdout } = await archive();
  expect(stdout).toMatch(
    /1 candles DIFFERED between the tiers: the newer ones were kept; archive_batches.conflicts of run 2 has both/,
  );
});

test('restore: resolves candles that both tiers hold', async () => {
  const { sql, archive, restore } = await setUpMinutes(100);
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

test('archive: loses nothing that another program writes meanwhile', async () => {
  const { database, sql, archive } = await setUpMinutes();
  const random = seededRandom();
  const writer = database.openSession();
  let isOver = false;
  onTestFinished(() => {
    isOver = true;
  });
  // Takes no lock, like any other program, and records in the same transaction what it wrote.
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

test('archive: moves a correction that its batch had to wait for', async () => {
  const { database, sql, archive } = await setUpMinutes();
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

test('archive: survives a deadlock with another writer', async () => {
  const { database, sql, archive } = await setUpMinutes();
  await sql`alter database ${sql(new URL(database.url).pathname.slice(1))} set deadlock_timeout = '20ms'`.catch(
    () => {
      // Other roles may not, and the test takes longer.
    },
  );
  const writer = database.openSession();
  const running: Promise<unknown>[] = [];
  await writer
    .begin(async (tx) => {
      // The later candle first: the batch locks them in the other order.
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

test('all_klines: reads only candle tables when asked for one instrument', async () => {
  const { sql } = await setUpMinutes();
  const plan = await sql`
    explain (format json) select sum(volume) from all_klines where instrument_id = 1 and interval = '1m'`;
  expect(JSON.stringify(plan)).toContain('"btc_usdt"');
  expect(JSON.stringify(plan)).not.toContain('"instruments"');
});

test.each([
  ['a trigger that swallows a candle', 'insert', 'new', 'return null;'],
  ['a trigger that alters a candle', 'insert', 'new', 'new.volume := 0; return new;'],
  ['a trigger that keeps a candle from being deleted', 'delete', 'old', 'return null;'],
])('archive: rolls back a batch after %s', async (_, event, row, body) => {
  const { database, sql, archive } = await setUpMinutes();
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
])('archive: rolls back a batch that fails %s; the next run finishes', async (_, event, kind) => {
  const { database, sql, archive } = await setUpMinutes();
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

test('archive --quiet: prints nothing for many small instruments', async () => {
  const database = await freshDatabase();
  for (let n = 0; n < 12; n++)
    await makeCandles(database, { symbol: `C${n}/USDT`, table: `c${n}_usdt`, rows: 1, from: FROM });
  const words = ['10', '--as-of', '2024-03-01', '--quiet'];
  const result = await startScript('archive', words, { DATABASE_URL: database.url }).result;
  expect(result).toMatchObject({ exitCode: EXIT.done, stdout: '', stderr: '' });
  expect(await expectReference(database)).toEqual({ hot: 0, archive: 12 });
});

test('archive: needs only two connections', async ({ skip }) => {
  const { database, sql } = await setUpMinutes();
  const [me] = await sql`
    select rolsuper or rolcreaterole as may_create from pg_roles where rolname = current_user`;
  skip(!me!.may_create, 'this role may not create another one');
  const role = `limited_${crypto.randomUUID().replaceAll('-', '')}`;
  const url = new URL(database.url);
  await sql.unsafe(
    `create role ${role} login password 'x' connection limit 2; grant ${url.username} to ${role}`,
  );
  onTestFinished(async () => {
    await sql.unsafe(`drop owned by ${role} cascade; drop role ${role}`);
  });
  [url.username, url.password] = [role, 'x'];
  expect((await scriptsOn(url.href).archive()).exitCode).toBe(EXIT.done);
  await expectAllArchived(database);
  expect(await sql`select outcome, moved_rows::int from archive_runs`).toEqual([
    { outcome: 'done', moved_rows: ROWS },
  ]);
});

test('archive: leaves complete batches when the disk is full', async () => {
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
