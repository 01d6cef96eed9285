/**
 * Kills everything at random moments: the script, its connection, the server, the answer to COMMIT.
 *
 * The default is a few rounds of each. For a long run, here 40 kills and as many of the others:
 *
 *     KLINEKEEP_KILL_ROUNDS=40 npx vitest run tests/archive/archive-crash.test.ts
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { startEmbedded, stopEmbedded } from '../../lib/embedded/cluster.ts';
import { connectDatabase, type Database } from '../../lib/postgres/connection.ts';
import { migrate } from '../../lib/postgres/migrate.ts';
import { startCuttingProxy } from '../support/cutting-proxy.ts';
import { freshDatabase } from '../support/database.ts';
import { seededRandom } from '../support/random.ts';
import { runScript, TSX_LOADER } from '../support/script.ts';
import { expectReference, makeCandles } from '../support/tiers.ts';

const FROM = '2024-01-01';
const ROWS = 1_200;
const ROUNDS = process.env.KLINEKEEP_KILL_ROUNDS;
const KILLS = Number(ROUNDS ?? 8);
const LOSSES = Number(ROUNDS ?? 4);
const STOPS = Number(ROUNDS ?? 2);
/** Of each loop; long runs need longer. */
const TIMEOUT_MS = 120_000 + Number(ROUNDS ?? 0) * 20_000;

const WORDS = {
  archive: ['10', '--as-of', '2024-03-01', '--batch', '20'],
  restore: ['BTC/USDT', '--from', FROM, '--to', '2024-03-01', '--batch', '20'],
};

/** Archive until all is archived, then restore until nothing is. */
async function nextVerb({ sql }: Database, last: keyof typeof WORDS): Promise<keyof typeof WORDS> {
  const { hot, archive } = await expectReference({ sql } as Database);
  const verb = archive === 0 ? 'archive' : hot === 0 ? 'restore' : last;
  if (verb === 'archive') await sql`delete from restored_ranges`;
  return verb;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function expectFinishes(database: Database, url: string): Promise<void> {
  await database.sql`delete from restored_ranges`;
  await expect
    .poll(async () => (await runScript('archive', WORDS.archive, { DATABASE_URL: url })).exitCode, {
      timeout: 20_000,
    })
    .toBe(EXIT.done);
  expect(await expectReference(database)).toEqual({ hot: 0, archive: ROWS });
}

function warmUp(verb: keyof typeof WORDS): ChildProcess {
  return spawn(
    process.execPath,
    ['--import', TSX_LOADER, resolve(PROJECT_DIR, 'tests/support/warm-script.ts'), verb],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
}

/** Waits until the next batch has moved, sometimes less long, and a moment longer. */
async function someMoment(
  { sql }: Database,
  script: Pick<ChildProcess, 'exitCode'>,
  random: () => number,
): Promise<void> {
  const countBatches = async () => {
    const [row] = await sql`select count(*)::int as count from archive_batches`;
    return row!.count;
  };
  const before = await countBatches();
  const giveUpMs = performance.now() + (random() < 0.2 ? random() * 300 : 10_000);
  while (performance.now() < giveUpMs && script.exitCode === null) {
    if ((await countBatches()) > before) break;
    await sleep(5);
  }
  await sleep(random() * 100);
}

test(`archive and restore: keep each candle in one tier over ${KILLS} kills`, {
  timeout: TIMEOUT_MS,
}, async () => {
  const database = await freshDatabase();
  await makeCandles(database, { rows: ROWS, from: FROM });
  const random = seededRandom();
  let inTheMiddle = 0;
  let verb: keyof typeof WORDS = 'archive';
  // The next script loads while this one works.
  const waiting = { archive: [warmUp('archive')], restore: [warmUp('restore')] };
  onTestFinished(() => {
    for (const child of [...waiting.archive, ...waiting.restore]) child.kill('SIGKILL');
  });
  for (let round = 0; round < KILLS; round++) {
    verb = await nextVerb(database, verb);
    const child = waiting[verb].shift() as ChildProcess;
    waiting[verb].push(warmUp(verb));
    await once(child.stdout!, 'data');
    child.stdin!.write(
      `${JSON.stringify({ words: WORDS[verb], env: { DATABASE_URL: database.url } })}\n`,
    );
    await someMoment(database, child, random);
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const { hot, archive } = await expectReference(database);
    if (hot > 0 && archive > 0) inTheMiddle += 1;
  }
  expect(inTheMiddle).toBeGreaterThan(KILLS / 4);
  await expectFinishes(database, database.url);
});

test(`archive and restore: go on after ${LOSSES} lost connections`, {
  timeout: TIMEOUT_MS,
}, async () => {
  const database = await freshDatabase();
  const { sql, url } = database;
  await makeCandles(database, { rows: ROWS, from: FROM });
  const random = seededRandom();
  let cut = 0;
  for (let verb: keyof typeof WORDS = 'archive'; cut < LOSSES; ) {
    verb = await nextVerb(database, verb);
    let isOver = false;
    const running = runScript(verb, WORDS[verb], { DATABASE_URL: url }).finally(() => {
      isOver = true;
    });
    for (let times = 0; times < 3 && !isOver; ) {
      await sleep(30 + random() * 150);
      const killed = await sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = ${`klinekeep ${verb}`}
          and datname = current_database()
          and pid in (select pid from pg_locks where locktype = 'advisory')`;
      if (killed.length > 0) times += 1;
      cut += killed.length;
    }
    const result = await running;
    expect(result.stderr.includes('the log shows') || result.exitCode === EXIT.done).toBe(true);
    expect([EXIT.done, EXIT.later, EXIT.unavailable]).toContain(result.exitCode);
  }
  await expectFinishes(database, url);
});

test(`archive and restore: keep each candle over ${STOPS} crashes of the server`, {
  timeout: TIMEOUT_MS,
}, async () => {
  const home = await mkdtemp(join(tmpdir(), 'klinekeep-crash-'));
  await chmod(home, 0o711);
  onTestFinished(async () => {
    await stopEmbedded(home);
    await rm(home, { recursive: true });
  });
  const url = await startEmbedded(home);
  let database = await connectDatabase(url, 'klinekeep tests');
  onTestFinished(() => database.close());
  await migrate(database.sql);
  await makeCandles(database, { rows: ROWS, from: FROM });
  const random = seededRandom();
  let inTheMiddle = 0;
  let verb: keyof typeof WORDS = 'archive';
  for (let round = 0; round < STOPS; round++) {
    verb = await nextVerb(database, verb);
    const running = runScript(verb, WORDS[verb], { DATABASE_URL: url });
    await someMoment(database, { exitCode: null }, random);
    // Before the server stops: the script goes on by itself as soon as it is back.
    const [row] = await database.sql`
      select exists (select from klines) and exists (select from klines_archive) as both`;
    if (row!.both) inTheMiddle += 1;
    const pid = Number.parseInt(await readFile(join(home, 'pgdata', 'postmaster.pid'), 'utf8'), 10);
    process.kill(pid, round % 2 === 0 ? 'SIGQUIT' : 'SIGKILL');
    await database.close();
    while (isAlive(pid)) await sleep(5);
    await startEmbedded(home);
    database = await connectDatabase(url, 'klinekeep tests');
    await expectReference(database);
    const { exitCode } = await running;
    expect([EXIT.done, EXIT.failed, EXIT.unavailable, EXIT.later]).toContain(exitCode);
  }
  expect(inTheMiddle).toBeGreaterThan(STOPS / 4);
  await expectFinishes(database, url);
});

test.each(['before', 'after'] as const)(
  'archive and restore: look up a COMMIT cut off %s the server got it',
  async (when) => {
    const database = await freshDatabase();
    await makeCandles(database, { rows: ROWS, from: FROM });
    const proxy = await startCuttingProxy(database.url);
    const random = seededRandom();
    for (const verb of ['archive', 'restore'] as const) {
      // Somewhere among the first ten batches; the table is made in a transaction, too.
      proxy.cutAt(4 + Math.floor(random() * 10), when);
      const result = await runScript(verb, [...WORDS[verb], '--json'], { DATABASE_URL: proxy.url });
      expect(proxy.hasCut).toBe(true);
      expect(result.exitCode).toBe(EXIT.done);
      expect(JSON.parse(result.stdout)).toMatchObject({ rows: ROWS, rowsLeft: 0 });
      expect(result.stderr).toContain(
        when === 'before'
          ? 'the connection was lost during a batch; the log shows that it was rolled back'
          : 'the connection was lost during a batch; the log shows that it was committed with 20 candles',
      );
      const { hot, archive } = await expectReference(database);
      expect(verb === 'archive' ? hot : archive).toBe(0);
    }
  },
);

test('archive: looks up a batch whose server process ended during COMMIT', async () => {
  const database = await freshDatabase();
  const { sql, url } = database;
  await makeCandles(database, { rows: ROWS, from: FROM });
  await sql.unsafe(`
    create sequence ends;
    create function drop_dead() returns trigger language plpgsql as $$ begin
      if nextval('ends') in (3, 7) then perform pg_terminate_backend(pg_backend_pid()); end if;
      return null;
    end $$;
    create constraint trigger drop_dead after insert on archive_batches deferrable initially deferred
      for each row execute function drop_dead()`);
  const result = await runScript('archive', WORDS.archive, { DATABASE_URL: url });
  expect(result.exitCode).toBe(EXIT.done);
  // Each of the two losses may concern batches of both sessions.
  const lookedUp = result.stderr.match(/the log shows that it was rolled back/g)?.length;
  expect(lookedUp).toBeGreaterThanOrEqual(2);
  expect(lookedUp).toBeLessThanOrEqual(4);
  expect(await expectReference(database)).toEqual({ hot: 0, archive: ROWS });
});

test('archive: exits with 69 when the server does not come back', async () => {
  const home = await mkdtemp(join(tmpdir(), 'klinekeep-gone-'));
  await chmod(home, 0o711);
  onTestFinished(async () => {
    await stopEmbedded(home);
    await rm(home, { recursive: true });
  });
  const url = await startEmbedded(home);
  const database = await connectDatabase(url, 'klinekeep tests');
  onTestFinished(() => database.close());
  await migrate(database.sql);
  await makeCandles(database, { rows: ROWS, from: FROM });
  const running = runScript('archive', WORDS.archive, { DATABASE_URL: url });
  while ((await database.sql`select 1 from archive_batches limit 1`).length === 0) await sleep(5);
  await database.close();
  await stopEmbedded(home);
  const result = await running;
  expect(result.exitCode).toBe(EXIT.unavailable);
  expect(result.stderr).toContain('The connection to PostgreSQL was lost');
});
