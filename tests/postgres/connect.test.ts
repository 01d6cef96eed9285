import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { connectDatabase } from '../../lib/postgres/connection.ts';
import { freshDatabase } from '../support/database.ts';
import { startRelay } from '../support/relay.ts';
import { runScript, startScript } from '../support/script.ts';

/** Connects with parts of a good address replaced, and asks one question. */
async function ask<Row>(url: string, question: string, env = {}): Promise<Row> {
  const database = await connectDatabase(url, 'klinekeep tests', { env });
  try {
    const [row] = await database.sql.unsafe(question);
    return row as Row;
  } finally {
    await database.close();
  }
}

describe('connectDatabase()', () => {
  test('reaches the server through a Unix socket, IPv6 and a list of hosts', async () => {
    const { url } = await freshDatabase();
    const { username, password, pathname, port } = new URL(url);
    const folder = await mkdtemp(join(tmpdir(), 'klinekeep-socket-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    await startRelay(url, { path: join(folder, '.s.PGSQL.6432') });
    const ipv6 = await startRelay(url, { port: 0, host: '::1' });
    const login = `${username}:${password}`;
    for (const address of [
      `postgres://${login}@${encodeURIComponent(folder)}:6432${pathname}`,
      `postgres://${login}@:6432${pathname}?host=${folder}`,
      `host=${folder} port=6432 user=${username} password=${password} dbname=${pathname.slice(1)}`,
      `postgres://${login}@[::1]:${ipv6.port}${pathname}`,
      `postgres://${login}@127.0.0.1:1,127.0.0.1:${port}${pathname}`,
      `postgres://${login}@127.0.0.1:1,127.0.0.1:${port}${pathname}?target_session_attrs=read-write`,
      `postgres://${login}@nowhere.invalid,127.0.0.1${pathname}?port=1,${port}&hostaddr=127.0.0.1,127.0.0.1`,
    ])
      expect(await ask(address, 'select 1 as one')).toEqual({ one: 1 });
  });

  test('takes what the address leaves out from the environment', async () => {
    const { url } = await freshDatabase();
    const { username, password, hostname, port, pathname } = new URL(url);
    const env = {
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: username,
      PGPASSWORD: password,
      PGDATABASE: pathname.slice(1),
    };
    expect(await ask('postgres://', 'select 1 as one', env)).toEqual({ one: 1 });
  });

  test('names what target_session_attrs does not find', async () => {
    const { url } = await freshDatabase();
    await expect(ask(`${url}?target_session_attrs=standby`, 'select 1')).rejects.toMatchObject({
      exitCode: EXIT.unavailable,
      message: expect.stringMatching(/is not standby$/),
    });
  });

  test('applies options of the address, and names one that cannot be set', async () => {
    const { url } = await freshDatabase();
    const options = encodeURIComponent('-c search_path=kl,public --work-mem=5MB');
    const question = `select current_setting('search_path') as path, current_setting('work_mem') as mem`;
    expect(await ask(`${url}?options=${options}`, question)).toEqual({
      path: 'kl,public',
      mem: '5MB',
    });
    await expect(ask(`${url}?options=-cno_such%3D1`, 'select 1')).rejects.toMatchObject({
      exitCode: EXIT.config,
      message: expect.stringContaining('Cannot set no_such from DATABASE_URL'),
    });
  });

  test('sets what klinekeep depends on, on every connection', async () => {
    const { url } = await freshDatabase();
    const database = await connectDatabase(url, 'klinekeep tests');
    onTestFinished(() => database.close());
    const session = database.openSession();
    for (const sql of [database.sql, session]) {
      const rows = await sql`
        select name, setting from pg_settings where name in (
          'DateStyle', 'TimeZone', 'IntervalStyle', 'standard_conforming_strings', 'statement_timeout', 'lock_timeout',
          'tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count', 'synchronous_commit')`;
      expect(Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))).toEqual({
        DateStyle: 'ISO, YMD',
        TimeZone: 'UTC',
        IntervalStyle: 'postgres',
        standard_conforming_strings: 'on',
        statement_timeout: '0',
        lock_timeout: '15000',
        tcp_keepalives_idle: '15',
        tcp_keepalives_interval: '5',
        tcp_keepalives_count: '3',
        synchronous_commit: 'local',
      });
      expect(sql.options).toMatchObject({ max_lifetime: 0, idle_timeout: 0 });
    }
  });

  test('waits for a connection when the server has none to spare', async () => {
    const { sql, url } = await freshDatabase();
    const role = await limitedRole(sql, url, 1);
    const first = await connectDatabase(role, 'klinekeep tests');
    const second = connectDatabase(role, 'klinekeep tests');
    const isOpen = second.then(() => true);
    expect(await Promise.race([isOpen, sleep(300, false)])).toBe(false);
    await first.close();
    await (await second).close();
  });
});

/** Our address with a role that may have only so many connections. */
async function limitedRole(
  sql: Awaited<ReturnType<typeof freshDatabase>>['sql'],
  url: string,
  limit: number,
) {
  const name = `limited_${Math.random().toString(36).slice(2)}`;
  await sql.unsafe(`create role ${name} login password 'limited' connection limit ${limit}`);
  onTestFinished(async () => {
    await sql.unsafe(`drop role ${name}`);
  });
  const address = new URL(url);
  [address.username, address.password] = [name, 'limited'];
  return address.href;
}

describe('a script', () => {
  test('ends with 69 when a proxy accepts and closes, without trying on and on', async () => {
    const { url } = await freshDatabase();
    const relay = await startRelay(url, undefined, (client) => client.destroy());
    const DATABASE_URL = `postgres://u:secret@127.0.0.1:${relay.port}/db`;
    const result = await runScript('status', [], { DATABASE_URL });
    expect(result.exitCode).toBe(EXIT.unavailable);
    expect(result.stderr).toMatch(/ECONNRESET|closed the connection during the handshake/);
    expect(result.stderr).not.toContain('secret');
    expect(relay.connections).toBeLessThan(5);
  });

  test('ends with 69 when nothing answers within connect_timeout', async () => {
    const { url } = await freshDatabase();
    const relay = await startRelay(url, undefined, () => {});
    const DATABASE_URL = `postgres://u:secret@127.0.0.1:${relay.port}/db?connect_timeout=2`;
    const result = await runScript('status', [], { DATABASE_URL });
    expect(result.exitCode).toBe(EXIT.unavailable);
    expect(result.stderr).toContain(`no answer from u@127.0.0.1:${relay.port}/db within 2 s`);
  });

  test('ends although the server does not answer its last query', async () => {
    const { url } = await freshDatabase();
    const relay = await startRelay(url);
    relay.freeze('update runs');
    const { exitCode } = await startScript('metrics', [], { DATABASE_URL: relay.through(url) })
      .result;
    expect(exitCode).toBe(EXIT.done);
  });
});

test('close(): drops connections whose peer does not answer', async () => {
  const { url } = await freshDatabase();
  const relay = await startRelay(url);
  const database = await connectDatabase(relay.through(url), 'klinekeep tests');
  const session = database.openSession();
  await session`select 1`;
  relay.freeze();
  session`select 2`.catch(() => {});
  await database.close();
  while (relay.open > 0) await sleep(10);
});

describe('a connection that is watched', () => {
  const beats = async (count: number) => {
    for (let beat = 0; beat < count; beat += 1) {
      vi.advanceTimersByTime(20_000);
      await sleep(50);
    }
  };
  const setUp = async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const { url } = await freshDatabase();
    const relay = await startRelay(url);
    const database = await connectDatabase(
      `${relay.through(url)}?connect_timeout=2`,
      'klinekeep tests',
    );
    onTestFinished(() => database.close());
    return { relay, database };
  };

  test('sends a query when it is idle, for proxies that end silent ones', async () => {
    const { relay, database } = await setUp();
    for (let pause = 0; pause < 2; pause += 1) {
      await database.sql`select 1`;
      vi.advanceTimersByTime(20_000);
      const before = relay.bytes;
      vi.advanceTimersByTime(20_000);
      while (relay.bytes === before) await sleep(5);
    }
  });

  test('is dropped when the server does not answer and cannot be reached', async () => {
    const { relay, database } = await setUp();
    relay.freeze('pg_sleep');
    const failure =
      expect(database.sql`select pg_sleep(0)`).rejects.toThrow(/does not answer any more/);
    const before = relay.bytes;
    while (relay.bytes === before) await sleep(5);
    await beats(5);
    await failure;
  });

  test('is kept while the server works on a long query', async () => {
    const { relay, database } = await setUp();
    const long = database.sql`select pg_sleep(1.5), 1 as one`;
    const before = relay.bytes;
    long.catch(() => {});
    while (relay.bytes === before) await sleep(5);
    await beats(5);
    expect(await long).toMatchObject([{ one: 1 }]);
    expect(relay.connections).toBeGreaterThan(1);
  });
});
