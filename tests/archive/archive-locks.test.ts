/** Locks of other programs on tables, rows and instruments, and how a move lets them go first. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { moveBatch } from '../../lib/archive/batch.ts';
import { beginRun } from '../../lib/archive/log.ts';
import { prepareTables } from '../../lib/archive/tables.ts';
import { EXIT } from '../../lib/base/errors.ts';
import { connectDatabase } from '../../lib/postgres/connection.ts';
import { listInstruments } from '../../lib/store/instruments.ts';
import { withInstrumentLock } from '../../lib/store/locks.ts';
import { expectReference } from '../support/tiers.ts';
import { expectAllArchived, FROM, ROWS, scriptsOn, setUpMinutes } from './minutes.ts';

/** First number of a helper's advisory locks in lib/store/locks.ts. */
const HELPER_LOCKS = 0x6b6d;

describe('a table that another session has locked', () => {
  test.each(['access exclusive', 'share update exclusive'])(
    'archive: stops with 75 while it needs a table locked in %s mode',
    async (mode) => {
      const { database, sql, archive } = await setUpMinutes();
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

  test('archive: stops with 75 when it cannot attach an archive table', async () => {
    const { database, archive } = await setUpMinutes();
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

  test('restore: stops with 75 when its source is locked after the plan', async () => {
    const { database, sql, archive, restore } = await setUpMinutes();
    await archive();
    await sql.unsafe(`
      create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$;
      create trigger dawdle after insert on archive_runs for each row execute function dawdle()`);
    const running = restore('--json');
    const isBegun = () => sql`
      select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`;
    while ((await isBegun()).length === 0) await sleep(5);
    const other = database.openSession();
    await other.begin(async (tx) => {
      await tx`lock table btc_usdt_archive in access exclusive mode`;
      expect((await running).exitCode).toBe(EXIT.later);
    });
    await expectAllArchived(database);
  });

  test('archive: waits while sessions queue for a table, without queueing itself', async () => {
    const { database, sql, archive } = await setUpMinutes();
    const [holder, queued] = [database.openSession(), database.openSession()];
    let waiting: Promise<unknown> = Promise.resolve();
    await holder.begin(async (tx) => {
      await tx`lock table btc_usdt in share update exclusive mode`;
      waiting = queued.begin((other) => other`lock table btc_usdt in share row exclusive mode`);
      const queue = () => sql`
        select a.application_name as name from pg_locks l join pg_stat_activity a using (pid)
        where not l.granted and l.relation = 'btc_usdt'::regclass`;
      while ((await queue()).length === 0) await sleep(5);
      const result = await archive('--max-runtime', '2s');
      expect(result.exitCode).toBe(EXIT.later);
      expect(result.stderr).toContain('waiting, other sessions (1) wait for a lock on btc_usdt');
      expect(await queue()).toEqual([{ name: 'klinekeep tests' }]);
    });
    await waiting;
    expect((await archive()).exitCode).toBe(EXIT.done);
    await expectAllArchived(database);
  });
});

test('moveBatch(): notices a session that waits for one of its locks', async () => {
  const { database, sql } = await setUpMinutes();
  const [instrument] = await listInstruments(sql);
  // The batch goes on when the writer below waits for one of its candles.
  await sql.unsafe(`
    create function dawdle() returns trigger language plpgsql as $$ begin
      while not exists (select from pg_locks where not granted and transactionid = pg_current_xact_id()::xid) loop
        perform pg_sleep(0.01);
      end loop;
      return null;
    end $$;
    create trigger dawdle after delete on btc_usdt execute function dawdle()`);
  const mover = database.openSession();
  const { sql: writer, close } = await connectDatabase(database.url, 'a writer');
  onTestFinished(close);
  const toMs = Date.parse('2024-01-01T01:00Z');
  await withInstrumentLock(mover, instrument!.id, async () => {
    const batch = {
      id: crypto.randomUUID(),
      runId: await beginRun(sql, 'archive', { toMs }),
      direction: 'archive' as const,
      columns: await prepareTables(mover, instrument!),
      window: { fromMs: Date.parse(FROM), toMs },
    };
    const moving = moveBatch(mover, { instrument: instrument!, interval: '1m' }, batch);
    const sleeps = () => sql`
      select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`;
    while ((await sleeps()).length === 0) await sleep(5);
    await writer`update klines set volume = 1 where open_time = ${FROM}`;
    expect(await moving).toEqual({ movedRows: 60, droppedRows: 0, othersWaited: true });
  });
});

test('archive: makes no reader or writer wait while it creates a table', async () => {
  const { database, sql, archive } = await setUpMinutes();
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

describe('an instrument that another run works on', () => {
  test('archive and restore: one of three at once works, the others exit with 75', async () => {
    const { database, archive, restore } = await setUpMinutes();
    for (let round = 0; round < 5; round++) {
      const results = await Promise.all([
        archive('--batch', '100'),
        archive('--batch', '70'),
        restore('--batch', '90'),
      ]);
      for (const { exitCode } of results) expect([EXIT.done, EXIT.later]).toContain(exitCode);
      await expectReference(database);
    }
    await database.sql`delete from restored_ranges`;
    expect((await archive()).exitCode).toBe(EXIT.done);
    await expectAllArchived(database);
  });

  test('archive: exits with 75 while the helper of a dead run still writes', async () => {
    const { database } = await setUpMinutes();
    const { archive } = scriptsOn(`${database.url}?options=-clock_timeout%3D200`);
    const other = database.openSession();
    await other.begin(async (tx) => {
      await tx`select pg_advisory_xact_lock_shared(lock_class(${HELPER_LOCKS}), 1)`;
      const result = await archive('--json');
      expect(result.exitCode).toBe(EXIT.later);
      expect(JSON.parse(result.stdout)).toMatchObject({ busy: ['BTC/USDT'], failed: [] });
    });
    expect((await archive()).exitCode).toBe(EXIT.done);
    await expectAllArchived(database);
  });
});
