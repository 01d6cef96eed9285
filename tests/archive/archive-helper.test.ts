/** The second session of archive and restore: when there is one, without it, with it lost, and after the other one failed. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { Database } from '../../lib/postgres/connection.ts';
import { freshDatabase } from '../support/database.ts';
import { runScript, startScript } from '../support/script.ts';
import { expectReference, makeCandles } from '../support/tiers.ts';

const FROM = '2024-01-01';
/** First numbers of the two-number locks in lib/store/locks.ts. */
const [INSTRUMENT_LOCKS, HELPER_LOCKS] = [0x6b6c, 0x6b6d];
const ARCHIVE = ['10', '--as-of', '2024-03-01', '--batch', '100', '--json'];

async function setUp(rows = 3_000) {
  const database = await freshDatabase();
  await makeCandles(database, { rows, from: FROM });
  const archive = (url = database.url) => runScript('archive', ARCHIVE, { DATABASE_URL: url });
  return { database, sql: database.sql, archive };
}

/** Another way to the server, on which whatever follows the owner's connection is never answered. */
async function startStallingProxy(databaseUrl: string): Promise<string> {
  const target = new URL(databaseUrl);
  const sockets: Socket[] = [];
  let isOwnerThere = false;
  const server = createServer((client) => {
    const onward = connect({ port: Number(target.port), host: target.hostname });
    const isStalled = isOwnerThere;
    for (const socket of [client, onward]) socket.on('error', () => {});
    client.on('data', (chunk) => {
      isOwnerThere ||= chunk.includes('pg_try_advisory_lock(');
      if (!isStalled) onward.write(chunk);
    });
    onward.on('data', (chunk) => client.write(chunk));
    client.on('close', () => onward.destroy());
    onward.on('close', () => client.destroy());
    sockets.push(client, onward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const url = new URL(databaseUrl);
  url.port = String((server.address() as { port: number }).port);
  return url.href;
}

/** Ends the server processes that hold a lock of this class. @returns how many */
async function endHolders({ sql }: Pick<Database, 'sql'>, lockClass: number): Promise<number> {
  const ended = await sql`
    select pg_terminate_backend(pid) from pg_locks
    where locktype = 'advisory' and classid = lock_class(${lockClass})::oid and granted
      and database = (select oid from pg_database where datname = current_database())`;
  return ended.length;
}

test.each([
  ['two batches are under way', [], { most: 2, last: 2 }],
  ['with --gentle one batch is under way', ['--gentle'], { most: 1, last: 1 }],
  ['while somebody else uses the database one batch is under way', [], { most: 1, last: 1 }, 0],
  ['from when somebody else comes one batch is under way', [], { most: 2, last: 1 }, 4],
] as const)('%s at a time', async (_, words, batches, comesAfter?: number) => {
  const { database, sql } = await setUp();
  // Each batch stays open for a while, and counts those that are.
  await sql.unsafe(`
    create table seen (batches int, at timestamptz default clock_timestamp());
    create function look() returns trigger language plpgsql as $$ begin
      perform pg_sleep(0.07);
      insert into seen select count(*) from pg_stat_activity
      where datname = current_database() and application_name = 'klinekeep archive' and backend_xid is not null;
      return new;
    end $$;
    create trigger look after insert on archive_batches for each row execute function look()`);
  const other = postgres(database.url, { connection: { application_name: 'a dashboard' } });
  onTestFinished(() => other.end({ timeout: 0 }));
  const come = async () => {
    while ((await sql`select from seen`).length < (comesAfter as number)) await sleep(5);
    await other`select 1`;
    other`select pg_sleep(60)`.catch(() => {});
  };
  if (comesAfter === 0) await come();
  const running = runScript('archive', [...ARCHIVE, ...words], {
    DATABASE_URL: database.url,
  });
  if (comesAfter) await come();
  expect((await running).exitCode).toBe(EXIT.done);
  // The very last one may be alone.
  expect(
    await sql`
      select max(batches) as most, (select max(batches) from (select * from seen order by at desc offset 1 limit 5) as late) as last
      from seen`,
  ).toEqual([batches]);
  expect(await expectReference(database)).toEqual({ hot: 0, archive: 3_000 });
});

test('many small instruments in a row: nothing is said that nobody asked for', async () => {
  const database = await freshDatabase();
  for (let n = 0; n < 30; n++)
    await makeCandles(database, { symbol: `C${n}/USDT`, table: `c${n}_usdt`, rows: 1, from: FROM });
  const words = ['10', '--as-of', '2024-03-01', '--quiet'];
  const result = await startScript('archive', words, { DATABASE_URL: database.url }).result;
  expect(result).toMatchObject({ exitCode: EXIT.done, stdout: '', stderr: '' });
  expect(await expectReference(database)).toEqual({ hot: 0, archive: 30 });
});

test('a second connection that is never answered is done without', async () => {
  const { database, archive } = await setUp();
  const result = await archive(await startStallingProxy(database.url));
  expect(result.exitCode).toBe(EXIT.done);
  expect(await expectReference(database)).toEqual({ hot: 0, archive: 3_000 });
});

test('a role that may have two connections moves everything, and the run is closed', async ({
  skip,
}) => {
  const { database, sql, archive } = await setUp();
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
  expect((await archive(url.href)).exitCode).toBe(EXIT.done);
  expect(await expectReference(database)).toEqual({ hot: 0, archive: 3_000 });
  expect(await sql`select outcome, moved_rows::int from archive_runs`).toEqual([
    { outcome: 'done', moved_rows: 3_000 },
  ]);
});

test('the second session is lost again and again: the first one goes on alone', async () => {
  const { database, archive } = await setUp(12_000);
  let isOver = false;
  const running = archive().finally(() => {
    isOver = true;
  });
  let lost = 0;
  while (!isOver) {
    lost += await endHolders(database, HELPER_LOCKS);
    await sleep(5);
  }
  expect(lost).toBeGreaterThan(0);
  expect((await running).exitCode).toBe(EXIT.done);
  expect(await expectReference(database)).toEqual({ hot: 0, archive: 12_000 });
});

test.each([
  ['to its end', undefined],
  ['until it is told to end', 'SIGTERM'],
] as const)(
  'a batch that fails is told of, and the other session does not go on %s',
  async (_, signal) => {
    const { database, sql } = await setUp(6_000);
    // The first window is not proven, and says so late; each batch takes a while.
    await sql.unsafe(`
    create table btc_usdt_archive (like btc_usdt including all);
    alter table klines_archive attach partition btc_usdt_archive for values in (1);
    create function meddle() returns trigger language plpgsql as $$ begin
      if new.open_time = '2024-01-01 00:05' then
        perform pg_sleep(0.5);
        return null;
      end if;
      return new;
    end $$;
    create trigger meddle before insert on btc_usdt_archive for each row execute function meddle();
    create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return new; end $$;
    create trigger dawdle after insert on archive_batches for each row execute function dawdle()`);
    const running = startScript('archive', ARCHIVE, { DATABASE_URL: database.url });
    if (signal !== undefined) {
      while ((await sql`select 1 from archive_batches limit 1`).length === 0) await sleep(5);
      running.process.kill(signal);
    }
    const result = await running.result;
    expect(result.stdout).toContain('The batch was rolled back.');
    expect(JSON.parse(result.stdout)).toMatchObject({ outcome: 'failed' });
    expect(await sql`select outcome from archive_runs`).toEqual([{ outcome: 'failed' }]);
    expect((await expectReference(database)).archive).toBeLessThan(3_000);
  },
);

test('a helper of a run that is gone still writes: the instrument counts as held', async () => {
  const { database, archive } = await setUp();
  const other = database.openSession();
  await other.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock_shared(lock_class(${HELPER_LOCKS}), 1)`;
    const result = await archive(`${database.url}?options=-clock_timeout%3D200`);
    expect(result.exitCode).toBe(EXIT.later);
    expect(JSON.parse(result.stdout)).toMatchObject({ held: ['BTC/USDT'], failed: [] });
  });
  expect((await archive()).exitCode).toBe(EXIT.done);
  expect(await endHolders(database, INSTRUMENT_LOCKS)).toBe(0);
});

test('restore waits no longer than a batch for a table that somebody has locked: 75', async () => {
  const { database, sql, archive } = await setUp();
  await archive();
  await sql.unsafe(`
    create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$;
    create trigger dawdle after insert on archive_runs for each row execute function dawdle()`);
  const range = ['--from', FROM, '--to', '2024-03-01', '--json'];
  const running = runScript('restore', ['BTC/USDT', ...range], { DATABASE_URL: database.url });
  const isBegun = () => sql`
    select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`;
  while ((await isBegun()).length === 0) await sleep(5);
  const other = database.openSession();
  await other.begin(async (tx) => {
    await tx`lock table btc_usdt_archive in access exclusive mode`;
    expect((await running).exitCode).toBe(EXIT.later);
  });
  expect(await expectReference(database)).toEqual({ hot: 0, archive: 3_000 });
});
