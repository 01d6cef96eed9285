/** The server process: found through postmaster.pid, started detached, stopped by a signal. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, lchown, open, readFile, stat, unlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KlinekeepError, writeWholeFile } from '../base/mod.ts';
import { explainUnloadable, type Programs, spawnOptions } from './programs.ts';
import type { ServerUser } from './server-user.ts';

export interface Server {
  pid: number;
  port: number;
  /** Accepts connections: it is neither starting, nor recovering, nor stopping. */
  isReady: boolean;
}

export type Settings = Record<string, string | number>;

const SETTINGS: Settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  timezone: 'UTC',
  log_timezone: 'UTC',
  max_connections: 100,
  // A query over all symbols locks every partition and its index.
  max_locks_per_transaction: 256,
  max_wal_size: '2GB',
  shared_buffers: '256MB',
  log_checkpoints: 'off',
};

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 60_000;

/** Finds the server of a data directory in less than a millisecond; undefined: none runs. */
export async function findServer(pgdata: string): Promise<Server | undefined> {
  const server = await readPidFile(pgdata);
  return server && (await isServer(server.pid, pgdata)) ? server : undefined;
}

async function readPidFile(pgdata: string): Promise<Server | undefined> {
  let text: string;
  try {
    text = await readFile(join(pgdata, 'postmaster.pid'), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  return pid > 0
    ? { pid, port: Number(lines[3]), isReady: lines[7]?.trim() === 'ready' }
    : undefined;
}

/**
 * Whether the process is the server. After a crash its number may belong to another program, or to a
 * zombie that nothing reaps, as in containers without init. `pg_ctl status` takes both for a
 * server. Outside of Linux the number must do.
 */
async function isServer(pid: number, pgdata: string): Promise<boolean> {
  if (!hasProcess(pid)) return false;
  if (process.platform !== 'linux') return true;
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const [, name, state = 'X'] = /^\d+ \((.*)\) (\S)/s.exec(status) ?? [];
  if ('ZX'.includes(state)) return false;
  try {
    // A server's current folder is its data directory.
    const [cwd, own] = await Promise.all([stat(`/proc/${pid}/cwd`), stat(pgdata)]);
    return cwd.ino === own.ino && cwd.dev === own.dev;
  } catch {
    // Containers may hide the folder even from root, but not the name.
    return name === 'postgres';
  }
}

/** Whether a process of any user has this number. */
export function hasProcess(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Starts the server, or waits for it if another process has started it, until it is ready. The
 * server is detached: neither Ctrl-C nor the end of this process stops it. `pg_ctl start` is not
 * used, because it passes paths through a shell, which expands a `$` in them.
 * @param home holds `pgdata`, which must exist, the log, and the port that was used last
 * @param settings of postgresql.conf; the port is chosen here
 * @throws KlinekeepError (78) when the program cannot run here, (69) when it is not ready in a minute.
 */
export async function startServer(
  home: string,
  programs: Programs,
  user: ServerUser | undefined,
  settings = SETTINGS,
): Promise<Server> {
  const pgdata = join(home, 'pgdata');
  const logPath = join(home, 'postgres.log');
  const log = await open(logPath, 'a+', 0o600);
  try {
    await giveToOwner(home, logPath);
    let child: ChildProcess | undefined;
    let logStart = 0;
    for (const untilMs = Date.now() + START_TIMEOUT_MS; Date.now() < untilMs; await sleep(15)) {
      const server = await findServer(pgdata);
      if (server?.isReady) {
        await writeWholeFile(join(home, 'port'), String(server.port));
        return server;
      }
      if (server || (child && isRunning(child))) continue;
      if (child) await assertPassing(await readTail(log, logStart), logPath, programs.postgres);
      await removeStalePidFile(pgdata);
      logStart = (await log.stat()).size;
      child = await spawnServer(
        programs.postgres,
        ['-D', pgdata, ...toWords({ ...settings, port: await choosePort(home) })],
        { ...spawnOptions(user), detached: true, stdio: ['ignore', log.fd, log.fd] },
      );
    }
    const lines = lastLines(await readTail(log, logStart), 4);
    throw new KlinekeepError(
      'unavailable',
      `The embedded PostgreSQL is not ready after ${START_TIMEOUT_MS / 1000} s. Its log ends with:\n${lines}`,
      {
        hint:
          `Try again later: after a crash it may still be recovering, or an earlier query may still be running (log: ${logPath}).\n` +
          `If ${join(pgdata, 'postmaster.pid')} names a process that is not PostgreSQL, remove that file.`,
      },
    );
  } finally {
    await log.close();
  }
}

const toWords = (settings: Settings) =>
  Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);

async function spawnServer(
  postgres: string,
  words: string[],
  options: Parameters<typeof spawn>[2],
): Promise<ChildProcess> {
  const child = spawn(postgres, words, options);
  await once(child, 'spawn').catch((error) => {
    throw explainUnloadable(postgres, String(error)) ?? error;
  });
  child.unref();
  return child;
}

const isRunning = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;

/** Another start was quicker, another program took the port, or a query survived a crash. */
const PASSING =
  /lock file "postmaster.pid"|could not create any TCP\/IP sockets|pre-existing shared memory block/;

/**
 * Waits a moment when a start failed for a reason that passes.
 * @throws KlinekeepError when the same start would fail again: (78) or (69).
 */
async function assertPassing(output: string, logPath: string, postgres: string): Promise<void> {
  if (PASSING.test(output)) return await sleep(250);
  throw (
    explainUnloadable(postgres, output) ??
    new KlinekeepError(
      'unavailable',
      `Cannot start the embedded PostgreSQL. It prints:\n${lastLines(output, 8)}`,
      { hint: `The whole log: ${logPath}` },
    )
  );
}

const lastLines = (text: string, count: number) => text.split('\n').slice(-count).join('\n');

/** The end of the log, from a byte on and at most 64 kB. */
async function readTail(log: FileHandle, fromByte: number): Promise<string> {
  const { size } = await log.stat();
  const from = Math.max(fromByte, size - 64 * 1024);
  const { buffer, bytesRead } = await log.read(Buffer.alloc(size - from), 0, size - from, from);
  return buffer.toString('utf8', 0, bytesRead).trimEnd();
}

/**
 * Removes a postmaster.pid whose number now belongs to another program of the same user, or to a
 * zombie: PostgreSQL takes it for a running server and would never start again. If a server runs
 * nevertheless, its shared memory keeps a second one out.
 */
async function removeStalePidFile(pgdata: string): Promise<void> {
  const file = await readPidFile(pgdata);
  if (!file || !hasProcess(file.pid) || (await isServer(file.pid, pgdata))) return;
  await unlink(join(pgdata, 'postmaster.pid')).catch(() => {});
}

/** The last used port if it is free; otherwise one from a range where no system picks its own. */
async function choosePort(home: string): Promise<number> {
  const last = Number(await readFile(join(home, 'port'), 'utf8').catch(() => ''));
  for (let port = last, tries = 0; tries < 20; tries++) {
    if (port > 1023 && port < 65_536 && (await isFree(port))) return port;
    port = 20_000 + Math.floor(Math.random() * 10_000);
  }
  throw new KlinekeepError('unavailable', 'No free TCP port on 127.0.0.1 from 20000 to 29999.');
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** What root leaves in another user's folder must belong to that user. */
async function giveToOwner(home: string, path: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(home);
  if (uid !== 0) await lchown(path, uid, gid);
}

/**
 * Stops the server with PostgreSQL's "fast shutdown", which rolls open transactions back.
 * @returns false when it was not running.
 * @throws KlinekeepError (69) when it has not stopped after a minute.
 */
export async function stopServer(home: string): Promise<boolean> {
  const pgdata = join(home, 'pgdata');
  const server = await findServer(pgdata);
  if (!server) return false;
  process.kill(server.pid, 'SIGINT');
  for (const untilMs = Date.now() + STOP_TIMEOUT_MS; Date.now() < untilMs; await sleep(15))
    if (!(await findServer(pgdata))) return true;
  throw new KlinekeepError('unavailable', `PostgreSQL (pid ${server.pid}) does not stop.`, {
    hint: `See ${join(home, 'postgres.log')}.`,
  });
}
