import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { connectDatabase } from '../../lib/postgres/connection.ts';
import { freshDatabase } from '../support/database.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';

const PGBOUNCER = ['pgbouncer', '/usr/sbin/pgbouncer'].find(
  (path) => spawnSync(path, ['--version']).status === 0,
);
const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const AS_NOBODY = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** A pgbouncer before the database until the test ends. */
async function startPooler(databaseUrl: string, settings: Record<string, string | number>) {
  const target = new URL(databaseUrl);
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-pooler-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await chmod(folder, 0o755);
  const port = await freePort();
  const options = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'any',
    ...settings,
  };
  const server = `host=${target.hostname} port=${target.port} user=${target.username} password=${target.password}`;
  const lines = Object.entries(options).map(([name, value]) => `${name} = ${value}`);
  const config = join(folder, 'pgbouncer.ini');
  await writeFile(config, `[databases]\n* = ${server}\n[pgbouncer]\n${lines.join('\n')}\n`, {
    mode: 0o644,
  });
  const child = spawn(PGBOUNCER!, ['-q', config], { stdio: 'ignore', ...AS_NOBODY });
  onTestFinished(async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  const url = `postgres://${target.username}@127.0.0.1:${port}${target.pathname}`;
  while (!(await answers(url))) await sleep(20);
  return url;
}

/** Whether something answers there, be it with a refusal of klinekeep's own. */
async function answers(url: string): Promise<boolean> {
  const failure = await connectDatabase(url, 'klinekeep tests').then(
    (database) => database.close(),
    (error) => error,
  );
  return failure?.exitCode !== EXIT.unavailable;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

describe.skipIf(PGBOUNCER === undefined)('pgbouncer (skipped where it is not installed)', () => {
  test.each([
    { pool_mode: 'transaction' },
    { pool_mode: 'transaction', server_round_robin: 1, min_pool_size: 3 },
    { pool_mode: 'transaction', default_pool_size: 1 },
    { pool_mode: 'statement' },
  ])('%o: is refused with 78 and leaves no lock or setting behind', async (settings) => {
    const { url, sql } = await freshDatabase();
    const DATABASE_URL = await startPooler(url, settings);
    const result = await runScript('status', [], { DATABASE_URL });
    expect(result.exitCode).toBe(EXIT.config);
    expect(result.stderr).toContain('a different server process');
    expect(result.stderr).toContain('pool_mode = session');
    const locks = await sql`
      select 1 from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
      where l.locktype = 'advisory'`;
    expect(locks).toHaveLength(0);
  });

  test('session mode: fetches, archives, restores and verifies', async () => {
    const fake = await startExchange({ nowMs: NOW });
    const { url } = await freshDatabase();
    const pooler = await startPooler(url, { pool_mode: 'session', default_pool_size: 8 });
    const env = { ...fake.env, DATABASE_URL: `${pooler}?options=-csearch_path%3Dpublic` };
    const range = ['--since', '2024-03-01', '--until', '2024-03-10'];
    for (const [name, ...words] of [
      ['fetch-history', 'BTC/USDT', 'ETH/USDT', '--interval', '1h', ...range],
      ['archive', '1', '--as-of', '2024-03-08'],
      ['restore', 'BTC/USDT', '--from', '2024-03-02', '--to', '2024-03-03'],
      ['verify-integrity', '--deep', '--to', '2024-03-09'],
      ['status'],
    ] as const) {
      const result = await runScript(name, words, env);
      expect(result, `${name}: ${result.stderr}`).toMatchObject({ exitCode: EXIT.done });
    }
  });
});
