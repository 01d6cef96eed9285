import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { EXIT, type KlinekeepError } from '../../lib/base/errors.ts';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { embeddedStatus, startEmbedded, stopEmbedded } from '../../lib/embedded/cluster.ts';
import { TSX_LOADER } from '../support/script.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const isRoot = process.getuid?.() === 0;
let home: string;
/** A home whose server was started and stopped: copying its data is quicker than initdb. */
let stoppedHome: string;

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "klinekeep's $HOME-"));
  await chmod(folder, 0o711);
  return folder;
}

beforeAll(async () => {
  stoppedHome = await makeFolder();
  await startEmbedded(stoppedHome);
  await stopEmbedded(stoppedHome);
});

afterAll(() => rm(stoppedHome, { recursive: true }));

beforeEach(async () => {
  home = await makeFolder();
});

function copyStoppedHome(): void {
  execFileSync('cp', ['-a', `${stoppedHome}/.`, home]);
}

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

const passwordFile = () => join(home, 'pgdata', 'klinekeep-password');

async function serverPid(): Promise<number> {
  return Number.parseInt(await readFile(join(home, 'pgdata', 'postmaster.pid'), 'utf8'), 10);
}

/** A script of its own, in a process group of its own, that starts the server and prints the URL. */
function spawnScript(then = ''): ChildProcess {
  const module = JSON.stringify(join(PROJECT_DIR, 'lib/embedded/mod.ts'));
  const code = `
    const { startEmbedded } = await import(${module});
    console.log(await startEmbedded(${JSON.stringify(home)}));
    ${then}`;
  const words = ['--import', TSX_LOADER, '--input-type=module', '--eval', code];
  return spawn(process.execPath, words, {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function printedUrl(script: ChildProcess): Promise<string> {
  const [line] = await once(script.stdout!, 'data');
  return String(line).trim();
}

describe('startEmbedded()', () => {
  test('creates a server, and finds it again at the next call', async () => {
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
    expect((await stat(passwordFile())).mode & 0o777).toBe(0o600);
  });

  test('starts a stopped server on the same port with its data', async () => {
    copyStoppedHome();
    expect(await embeddedStatus(home)).toEqual({ state: 'stopped' });
    const url = await startEmbedded(home);
    await query(url, 'create table kept as select 42 as answer');
    expect(await stopEmbedded(home)).toBe(true);
    expect(await embeddedStatus(home)).toEqual({ state: 'stopped' });
    expect(await stopEmbedded(home)).toBe(false);

    expect(await startEmbedded(home)).toBe(url);
    expect(await query(url, 'select * from kept')).toEqual([{ answer: 42 }]);
  });

  test('creates a named database, again after it was dropped', async () => {
    copyStoppedHome();
    const klines = await startEmbedded(home);
    for (let round = 0; round < 2; round++) {
      const url = await startEmbedded(home, { database: 'Other-1' });
      expect(await query(url, 'select current_database() as name')).toEqual([{ name: 'Other-1' }]);
      await query(klines, 'drop database "Other-1"');
    }
  });

  test('refuses a database name that would not survive an address', async () => {
    await expect(startEmbedded(home, { database: 'a b' })).rejects.toMatchObject({
      exitCode: EXIT.usage,
    });
  });

  test('two scripts at once share one server, which outlives both', async () => {
    const scripts = [spawnScript(), spawnScript()];
    const exits = scripts.map((script) => once(script, 'exit'));
    const urls = await Promise.all(scripts.map(printedUrl));
    expect(urls[0]).toBe(urls[1]);
    for (const exit of exits) expect((await exit)[0]).toBe(0);

    expect(await query(urls[0]!, 'select 1 as one')).toEqual([{ one: 1 }]);
    expect(await startEmbedded(home)).toBe(urls[0]);
    const names = await readdir(home);
    expect(names.sort()).toEqual(['pgdata', 'port', 'postgres.log']);
  });

  test('survives when the process group of its script is killed', async () => {
    copyStoppedHome();
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

  test('keeps what was committed when the server is killed', async () => {
    copyStoppedHome();
    const url = await startEmbedded(home);
    await query(url, 'create table kept as select generate_series(1, 1000) as n');
    process.kill(await serverPid(), 'SIGKILL');

    const again = await startEmbedded(home);
    expect(await query(again, 'select count(*)::int as n from kept')).toEqual([{ n: 1000 }]);
  });

  test.runIf(process.platform === 'linux')(
    'starts although a stale postmaster.pid names another program',
    async () => {
      copyStoppedHome();
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

  test('moves to another port when its own is taken', async () => {
    copyStoppedHome();
    const port = Number(await readFile(join(home, 'port'), 'utf8'));
    const squatter = createServer().listen(port, '127.0.0.1');
    await once(squatter, 'listening');
    try {
      const moved = await startEmbedded(home);
      expect(new URL(moved).port).not.toBe(String(port));
      expect(await query(moved, 'select 1 as one')).toEqual([{ one: 1 }]);
      expect(await startEmbedded(home)).toBe(moved);
    } finally {
      squatter.close();
    }
  });

  test('removes what a killed initdb left, and nothing of a running one', async () => {
    copyStoppedHome();
    const dead = spawn('true');
    await once(dead, 'exit');
    await mkdir(join(home, `pgdata.tmp.${dead.pid}.aBcDeF`, 'pgdata'), { recursive: true });
    await mkdir(join(home, `pgdata.tmp.${process.ppid}.aBcDeF`));
    await startEmbedded(home);
    const left = (await readdir(home)).filter((name) => name.startsWith('pgdata.tmp.'));
    expect(left).toEqual([`pgdata.tmp.${process.ppid}.aBcDeF`]);
  });

  test('reports the end of the log of a server that cannot start', async () => {
    copyStoppedHome();
    await writeFile(join(home, 'pgdata', 'PG_VERSION'), '12\n');
    const error: KlinekeepError = await startEmbedded(home).catch((thrown) => thrown);
    expect(error.exitCode).toBe(EXIT.unavailable);
    expect(error.message).toContain('initialized by PostgreSQL version 12');
    expect(error.hint).toContain(join(home, 'postgres.log'));
  });

  test('names a missing password file', async () => {
    copyStoppedHome();
    await rm(passwordFile());
    await expect(startEmbedded(home)).rejects.toMatchObject({
      exitCode: EXIT.config,
      message: expect.stringContaining(passwordFile()),
    });
  });

  test.skipIf(!isRoot)('as root names the closed folder above its home', async () => {
    await chmod(home, 0o700);
    const below = join(home, 'project', '.klines');
    await expect(startEmbedded(below)).rejects.toMatchObject({
      exitCode: EXIT.config,
      message: expect.stringContaining(`cannot enter ${home} (mode 0700)`),
      hint: expect.stringContaining('KLINES_HOME'),
    });
    expect(await embeddedStatus(below)).toEqual({ state: 'absent' });
  });

  test.skipIf(isRoot)('names a home that cannot be written', async () => {
    await chmod(home, 0o500);
    await expect(startEmbedded(join(home, 'below'))).rejects.toMatchObject({
      exitCode: EXIT.config,
      message: expect.stringContaining(home),
    });
  });
});
