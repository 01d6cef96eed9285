import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { connectDatabase, disconnected } from '../../lib/postgres/connection.ts';
import { copyIn } from '../../lib/postgres/copy.ts';
import { renderSql } from '../../lib/postgres/sql-file.ts';
import { InstrumentBusy, lockedTransaction, withInstrumentLock } from '../../lib/store/locks.ts';
import { freshDatabase } from '../support/database.ts';
import { runScript } from '../support/script.ts';

test('copyIn(): fails when the server rejects data, keeps the connection', async () => {
  const session = (await freshDatabase()).openSession();
  await session`create temp table numbers (n int)`;
  await expect(copyIn(session, 'copy numbers from stdin', ['1\n', 'two\n'])).rejects.toThrow(
    /invalid input syntax/,
  );
  const many = Array.from({ length: 50_000 }, () => 'still no number\n');
  await expect(copyIn(session, 'copy numbers from stdin', many)).rejects.toThrow(
    /invalid input syntax/,
  );
  await copyIn(session, 'copy numbers from stdin', ['1\n', '2\n']);
  expect(await session`select sum(n)::int as total from numbers`).toMatchObject([{ total: 3 }]);
});

test('copyIn(): fails when the table is missing', async () => {
  const session = (await freshDatabase()).openSession();
  await expect(copyIn(session, 'copy nowhere from stdin', ['1\n'])).rejects.toThrow(
    /does not exist/,
  );
});

test('copyIn(): fails when the connection is cut', async () => {
  const database = await freshDatabase();
  const session = database.openSession();
  await session`create temp table numbers (n int)`;
  const [me] = await session`select pg_backend_pid() as pid`;
  async function* endless() {
    for (let n = 0; ; n++) {
      if (n === 1000) await database.sql`select pg_terminate_backend(${me!.pid})`;
      yield `${n}\n`;
    }
  }
  await expect(copyIn(session, 'copy numbers from stdin', endless())).rejects.toThrow();
});

test('two sessions: one locks an instrument, the other fails at once', async () => {
  const database = await freshDatabase();
  const [first, second] = [database.openSession(), database.openSession()];
  const nested = withInstrumentLock(first, 7, () =>
    withInstrumentLock(second, 7, async () => 'worked'),
  );
  await expect(nested).rejects.toThrow(InstrumentBusy);
  expect(await withInstrumentLock(second, 7, async () => 'worked')).toBe('worked');
});

test('a session that lost its connection and lock: cannot write any more', async () => {
  const database = await freshDatabase();
  const [first, second] = [database.openSession(), database.openSession()];
  await withInstrumentLock(first, 7, async () => {
    const [me] = await first`select pg_backend_pid() as pid`;
    await database.sql`select pg_terminate_backend(${me!.pid})`;
    await withInstrumentLock(second, 7, async () => {
      await first`select 1`.catch(() => {});
      await expect(lockedTransaction(first, 7, '', async () => 'wrote')).rejects.toMatchObject({
        exitCode: EXIT.later,
      });
    });
    expect(await lockedTransaction(first, 7, '', async () => 'wrote')).toBe('wrote');
  });
});

test.each(['statement_timeout', 'idle_session_timeout'])(
  'connectDatabase(): %s of the database ends neither statements nor sessions',
  async (setting) => {
    const { sql, url } = await freshDatabase();
    await sql.unsafe(`do $$ begin
      execute format('alter database %I set ${setting} = 50', current_database());
    end $$`);
    const database = await connectDatabase(url, 'klinekeep tests');
    onTestFinished(() => database.close());
    await database.sql`select pg_sleep(0.2)`;
    await sleep(200);
    expect(disconnected(database.sql).aborted).toBe(false);
  },
);

test('renderSql(): quotes values', () => {
  const text = renderSql('archive/create_archive_table.sql', {
    hot: 'odd"name',
    archive: "it's",
    instrument_id: "1'); drop table klines; --",
  });
  expect(text).toContain('"odd""name"');
  expect(text).toContain('"it\'s"');
  expect(text).toContain("in ('1''); drop table klines; --')");
  expect(() => renderSql('archive/create_archive_table.sql', {})).toThrow(/needs a value for/);
});

test.each([
  ['postgres://someone:secret@127.0.0.1:1/klines', EXIT.unavailable, 'ECONNREFUSED'],
  ['not an address', EXIT.config, 'does not start with postgres://'],
  ['postgres://someone:sec/ret@127.0.0.1/klines', EXIT.config, 'host or port cannot be read'],
])('DATABASE_URL %s: ends with %i and prints no password', async (url, exitCode, found) => {
  const result = await runScript('verify-integrity', [], { DATABASE_URL: url });
  expect(result.exitCode).toBe(exitCode);
  expect(result.stderr).toContain(found);
  expect(result.stderr).toContain('DATABASE_URL');
  expect(result.stderr).not.toMatch(/secret|sec\/ret/);
});

test('a wrong database name: ends with 69', async () => {
  const url = new URL((await freshDatabase()).url);
  url.pathname = '/not_there';
  const result = await runScript('verify-integrity', [], { DATABASE_URL: url.href });
  expect(result.exitCode).toBe(EXIT.unavailable);
  expect(result.stderr).toContain('database "not_there" does not exist');
});

test('a wrong password: ends with 69', async ({ skip }) => {
  const url = new URL((await freshDatabase()).url);
  url.password = 'wrong';
  const sql = postgres(url.href, { max: 1 });
  const isTrusted = await sql`select 1`.then(
    () => true,
    () => false,
  );
  await sql.end();
  skip(isTrusted, 'this server asks for no password');
  const result = await runScript('verify-integrity', [], { DATABASE_URL: url.href });
  expect(result.exitCode).toBe(EXIT.unavailable);
  expect(result.stderr).toContain('password authentication failed');
});
