import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { EXIT, type KlinekeepError } from '../../lib/base/errors.ts';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { embeddedStatus, startEmbedded, stopEmbedded } from '../../lib/embedded/cluster.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const isRoot = process.getuid?.() === 0;
let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "klinekeep's $HOME-"));
  await chmod(home, 0o711);
});

afterEach(async () => {
  await chmod(home, 0o711);
  await stopEmbedded(home);
  await rm(home, { recursive: true });
});

async function query<T extends object>(url: string, text: string): Promise<T[]> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return [...(await sql.unsafe<T[]>(text))];
  } finally {
    await sql.end();
  }
}

async function serverPid(): Promise<number> {
  return Number.parseInt(await readFile(join(home, 'pgdata', 'postmaster.pid'), 'utf8'), 10);
}

/** A script of its own, in a process group of its own, that starts the server and prints the URL. */
function spawnScript(then = ''): ChildProcess {
  const module = JSON.stringify(join(PROJECT_DIR, 'lib', 'embedded.ts'));
  const code = `
    const { startEmbedded } = await import(${module});
    console.log(await startEmbedded(${JSON.stringify(home)}));
    ${then}`;
  const tsx = join(PROJECT_DIR, 'node_modules', '.bin', 'tsx');
  return spawn(tsx, ['--input-type=module', '--eval', code], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function printedUrl(script: ChildProcess): Promise<string> {
  const [line] = await once(script.stdout!, 'data');
  return String(line).trim();
}

test('the first start makes a server, and the next call finds the same one', async () => {
  expect(await embeddedStatus(home)).toEqual({ state: 'absent' });

  const url = await startEmbedded(home);
  expect(url).toMatch(/^postgres:\/\/klinekeep:[\w-]{32}@127\.0\.0\.1:\d+\/klines$/);
  const [row] = await query<Record<string, unknown>>(
    url,
    `select 1 as one, current_database() as name, current_setting('TimeZone') as zone,
      current_setting('max_locks_per_transaction') as locks, current_setting('data_checksums') as sums`,
  );
  expect(row).toEqual({ one: 1, name: 'klines', zone: 'UTC', locks: '256', sums: 'on' });

  const pid = await serverPid();
  expect(await startEmbedded(home)).toBe(url);
  expect(await serverPid()).toBe(pid);

  const status = await embeddedStatus(home);
  expect(status).toMatchObject({ state: 'running', url, pid, version: '18.4' });
  const { mode, uid } = await stat(join(home, 'password'));
  expect(mode & 0o777).toBe(0o600);
  expect(uid).toBe(process.getuid?.());
});

test('a server that was stopped comes back on the same port with its data', async () => {
  const url = await startEmbedded(home);
  await query(url, 'create table kept as select 42 as answer');
  expect(await stopEmbedded(home)).toBe(true);
  expect(await embeddedStatus(home)).toEqual({ state: 'stopped' });
  expect(await stopEmbedded(home)).toBe(false);

  expect(await startEmbedded(home)).toBe(url);
  expect(await query(url, 'select * from kept')).toEqual([{ answer: 42 }]);
});

test('another database is made when it is asked for, and made again when it was dropped', async () => {
  const klines = await startEmbedded(home);
  for (let round = 0; round < 2; round++) {
    const url = await startEmbedded(home, { database: 'Other-1' });
    expect(await query(url, 'select current_database() as name')).toEqual([{ name: 'Other-1' }]);
    await query(klines, 'drop database "Other-1"');
  }
});

test('a database name that would not survive an address is refused', async () => {
  await expect(startEmbedded(home, { database: 'a b' })).rejects.toMatchObject({
    exitCode: EXIT.usage,
  });
});

test('two scripts that start it at once share one server, which outlives them both', async () => {
  const scripts = [spawnScript(), spawnScript()];
  const exits = scripts.map((script) => once(script, 'exit'));
  const urls = await Promise.all(scripts.map(printedUrl));
  expect(urls[0]).toBe(urls[1]);
  for (const exit of exits) expect((await exit)[0]).toBe(0);

  expect(await query(urls[0]!, 'select 1 as one')).toEqual([{ one: 1 }]);
  expect(await startEmbedded(home)).toBe(urls[0]);
  const names = await readdir(home);
  expect(names.sort()).toEqual(['password', 'pgdata', 'port', 'postgres.log']);
});

test('it survives when the whole process group of its script is killed', async () => {
  const script = spawnScript('setInterval(() => {}, 1000);');
  const url = await printedUrl(script);
  const pid = await serverPid();
  for (const signal of ['SIGINT', 'SIGKILL'] as const) {
    try {
      process.kill(-script.pid!, signal);
    } catch {} // the first one may have been enough
    await sleep(100);
  }
  expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }]);
  expect(await startEmbedded(home)).toBe(url);
  expect(await serverPid()).toBe(pid);
});

test('what was committed survives kill -9 of the server', async () => {
  const url = await startEmbedded(home);
  await query(url, 'create table kept as select generate_series(1, 1000) as n');
  process.kill(await serverPid(), 'SIGKILL');

  const again = await startEmbedded(home);
  expect(await query(again, 'select count(*)::int as n from kept')).toEqual([{ n: 1000 }]);
});

test.runIf(process.platform === 'linux')(
  'a postmaster.pid left by a crash whose pid is now another program is no hindrance',
  async () => {
    const url = await startEmbedded(home);
    const path = join(home, 'pgdata', 'postmaster.pid');
    const text = await readFile(path, 'utf8');
    await stopEmbedded(home);
    // Root's own pid would not do: PostgreSQL ignores processes of other users.
    const { uid, gid } = await stat(join(home, 'pgdata'));
    const other = spawn('sleep', ['60'], isRoot ? { uid, gid } : {});
    try {
      await writeFile(path, text.replace(/^\d+/, String(other.pid)));
      expect(await embeddedStatus(home)).toEqual({ state: 'stopped' });
      expect(await startEmbedded(home)).toBe(url);
      expect(other.exitCode ?? other.signalCode).toBe(null);
    } finally {
      other.kill();
    }
  },
);

test('when its port was taken meanwhile it moves to another', async () => {
  const url = await startEmbedded(home);
  await stopEmbedded(home);
  const squatter = createServer().listen(Number(new URL(url).port), '127.0.0.1');
  await once(squatter, 'listening');
  try {
    const moved = await startEmbedded(home);
    expect(moved).not.toBe(url);
    expect(await query(moved, 'select 1 as one')).toEqual([{ one: 1 }]);
    expect(await startEmbedded(home)).toBe(moved);
  } finally {
    squatter.close();
  }
});

test('what an initdb that was killed left behind is removed, a living one is left alone', async () => {
  const dead = spawn('true');
  await once(dead, 'exit');
  await mkdir(join(home, `pgdata.tmp.${dead.pid}.aBcDeF`, 'pgdata'), { recursive: true });
  await mkdir(join(home, `pgdata.tmp.${process.ppid}.aBcDeF`));
  await startEmbedded(home);
  const left = (await readdir(home)).filter((name) => name.startsWith('pgdata.tmp.'));
  expect(left).toEqual([`pgdata.tmp.${process.ppid}.aBcDeF`]);
});

test('a server that cannot start is reported with the end of its log', async () => {
  await startEmbedded(home);
  await stopEmbedded(home);
  await writeFile(join(home, 'pgdata', 'PG_VERSION'), '12\n');
  const error: KlinekeepError = await startEmbedded(home).catch((thrown) => thrown);
  expect(error.exitCode).toBe(EXIT.unavailable);
  expect(error.message).toContain('initialized by PostgreSQL version 12');
  expect(error.hint).toContain(join(home, 'postgres.log'));
});

test('a password file that is gone is named', async () => {
  await startEmbedded(home);
  await rm(join(home, 'password'));
  await expect(startEmbedded(home)).rejects.toMatchObject({
    exitCode: EXIT.config,
    message: expect.stringContaining(join(home, 'password')),
  });
});

test.skipIf(!isRoot)('as root a home below a closed folder is refused by name', async () => {
  await chmod(home, 0o700);
  const below = join(home, 'project', '.klines');
  await expect(startEmbedded(below)).rejects.toMatchObject({
    exitCode: EXIT.config,
    message: expect.stringContaining(`cannot enter ${home} (mode 0700)`),
    hint: expect.stringContaining('KLINES_HOME'),
  });
  expect(await embeddedStatus(below)).toEqual({ state: 'absent' });
});

test.skipIf(isRoot)('a home that may not be written to is named', async () => {
  await chmod(home, 0o500);
  await expect(startEmbedded(join(home, 'below'))).rejects.toMatchObject({
    exitCode: EXIT.config,
    message: expect.stringContaining(home),
  });
});
