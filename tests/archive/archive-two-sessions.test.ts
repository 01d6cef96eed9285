/** The second session of a move: when there is one, and what happens when one of the two fails or is lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { Database } from '../../lib/postgres/connection.ts';
import { startScript } from '../support/script.ts';
import { expectReference } from '../support/tiers.ts';
import { expectAllArchived, ROWS, setUpMinutes } from './minutes.ts';

/** First number of a helper's advisory locks in lib/store/locks.ts. */
const HELPER_LOCKS = 0x6b6d;

/** Another program, which uses the database until the test ends. */
async function startDashboard(url: string): Promise<void> {
  const dashboard = postgres(url, { connection: { application_name: 'a dashboard' } });
  onTestFinished(() => dashboard.end({ timeout: 0 }));
  await dashboard`select 1`;
  dashboard`select pg_sleep(60)`.catch(() => {});
}

describe('archive: how many batches are open at a time', () => {
  test.each([
    ['two when it is alone', { most: 2, last: 2 }],
    ['one with --gentle', { most: 1, last: 1 }, '--gentle'],
    ['one beside another program', { most: 1, last: 1 }, 'dashboard first'],
    ['one from when another program starts', { most: 2, last: 1 }, 'dashboard later'],
  ])('%s', async (_, batches, when?: string) => {
    const { database, sql, archive } = await setUpMinutes();
    // Each batch stays open for a while and counts those that are open.
    await sql.unsafe(`
      create table seen (batches int, at timestamptz default clock_timestamp());
      create function look() returns trigger language plpgsql as $$ begin
        perform pg_sleep(0.07);
        insert into seen select count(*) from pg_stat_activity
        where datname = current_database() and application_name = 'klinekeep archive' and backend_xid is not null;
        return new;
      end $$;
      create trigger look after insert on archive_batches for each row execute function look()`);
    if (when === 'dashboard first') await startDashboard(database.url);
    const running = archive('--batch', '100', ...(when === '--gentle' ? [when] : []));
    if (when === 'dashboard later') {
      while ((await sql`select from seen`).length < 4) await sleep(5);
      await startDashboard(database.url);
    }
    expect((await running).exitCode).toBe(EXIT.done);
    // Without the very last batch, which may be alone.
    const [seen] = await sql`
      select
        max(batches) as most,
        (select max(batches) from (select * from seen order by at desc offset 1 limit 5) as late) as last
      from seen`;
    expect(seen).toEqual(batches);
    await expectAllArchived(database);
  });
});

/** Ends the server processes of helpers that are writing. @returns how many */
async function endHelpers({ sql }: Pick<Database, 'sql'>): Promise<number> {
  const ended = await sql`
    select pg_terminate_backend(pid) from pg_locks
    where locktype = 'advisory' and classid = lock_class(${HELPER_LOCKS})::oid and granted
      and database = (select oid from pg_database where datname = current_database())`;
  return ended.length;
}

test('archive: goes on alone after its second session was lost', async () => {
  const { database, archive } = await setUpMinutes();
  let isOver = false;
  const running = archive('--batch', '50').finally(() => {
    isOver = true;
  });
  let lost = 0;
  while (!isOver) {
    lost += await endHelpers(database);
    await sleep(5);
  }
  expect(lost).toBeGreaterThan(0);
  expect((await running).exitCode).toBe(EXIT.done);
  await expectAllArchived(database);
});

test.each([undefined, 'SIGTERM'] as const)(
  'archive: reports a batch that fails late and ends the other session (%s)',
  async (signal) => {
    const { database, sql } = await setUpMinutes();
    // The first window is not proven, and shows it late. Each batch takes a while.
    await sql.unsafe(`
      create table btc_usdt_archive (like btc_usdt including all);
      alter table klines_archive attach partition btc_usdt_archive for values in (1);
      create function meddle() returns trigger language plpgsql as $$ begin
        perform pg_sleep(0.5);
        return null;
      end $$;
      create trigger meddle before insert on btc_usdt_archive for each row
        when (new.open_time = '2024-01-01 00:05') execute function meddle();
      create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return new; end $$;
      create trigger dawdle after insert on archive_batches for each row execute function dawdle()`);
    const words = ['10', '--as-of', '2024-03-01', '--batch', '100', '--json'];
    const running = startScript('archive', words, { DATABASE_URL: database.url });
    if (signal !== undefined) {
      while ((await sql`select 1 from archive_batches limit 1`).length === 0) await sleep(5);
      running.process.kill(signal);
    }
    const result = await running.result;
    expect(result.stdout).toContain('The batch was rolled back.');
    expect(JSON.parse(result.stdout)).toMatchObject({ outcome: 'failed' });
    expect(await sql`select outcome from archive_runs`).toEqual([{ outcome: 'failed' }]);
    expect((await expectReference(database)).archive).toBeLessThan(ROWS);
  },
);
