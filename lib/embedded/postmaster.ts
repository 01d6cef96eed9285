import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, open, readFile, stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { spawnOptions, unloadable } from './programs.ts';
import type { ServerUser } from './server-user.ts';

/** `busy`: a postmaster is there but does not take connections: starting, stopping, recovering. */
export type Postmaster =
  | { state: 'running'; pid: number; port: number }
  | { state: 'busy'; pid: number }
  | { state: 'down' };

const SETTINGS = {
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

/** Takes well under a millisecond when nothing runs, one or two when something does. */
export async function findPostmaster(pgdata: string): Promise<Postmaster> {
  const file = await readPidFile(pgdata);
  if (!file || !(await isPostmaster(file.pid, pgdata))) return { state: 'down' };
  const { pid, port } = file;
  if (file.ready && (await answers(port))) return { state: 'running', pid, port };
  return { state: 'busy', pid };
}

/** Whether a process with this id runs, whoever's it is. A zombie does not run. */
export async function isAlive(pid: number): Promise<boolean> {
  return hasProcess(pid) && !(await isZombie(pid));
}

function hasProcess(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Where PID 1 is no init (containers), zombies can stay for ever. Without /proc: false. */
async function isZombie(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return /^\d+ \(.*\) [ZX]/s.test(status);
}

async function readPidFile(pgdata: string) {
  let text: string;
  try {
    text = await readFile(join(pgdata, 'postmaster.pid'), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const lines = text.split('\n');
  const [pid, port] = [Number(lines[0]), Number(lines[3])];
  return pid > 0 ? { pid, port, ready: lines[7]?.trim() === 'ready' } : undefined;
}

/**
 * A pid alone proves nothing: after a restart of the machine it may be anybody's. A server's
 * current folder is its data. Without /proc the pid has to do.
 */
async function isPostmaster(pid: number, pgdata: string): Promise<boolean> {
  if (!(await isAlive(pid))) return false;
  if (process.platform !== 'linux') return true;
  try {
    const [cwd, own] = await Promise.all([stat(`/proc/${pid}/cwd`), stat(pgdata)]);
    return cwd.ino === own.ino && cwd.dev === own.dev;
  } catch {
    // A container may not let even root look there; everybody may see the name.
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    return name.trim() === 'postgres';
  }
}

/** Whether PostgreSQL is behind the port: it answers a request for TLS with one letter. */
async function answers(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port, timeout: 2_000 });
  try {
    return await new Promise<boolean>((resolve) => {
      socket.on('connect', () => socket.write(SSL_REQUEST));
      socket.on('data', (data) => resolve(data.length === 1 && /[NS]/.test(data.toString())));
      socket.on('error', () => resolve(false));
      socket.on('close', () => resolve(false));
      socket.on('timeout', () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

/**
 * Removes a postmaster.pid whose pid is now another program of the same user (or a zombie):
 * PostgreSQL takes that for a running server and would refuse to start for ever. Should a server
 * be there all the same, its shared memory keeps a second one out.
 */
export async function removeStalePidFile(pgdata: string): Promise<void> {
  const file = await readPidFile(pgdata);
  if (!file || !hasProcess(file.pid) || (await isPostmaster(file.pid, pgdata))) return;
  await unlink(join(pgdata, 'postmaster.pid')).catch(() => {});
}

/**
 * Starts a server that outlives this process and waits until it takes connections.
 *
 * Not through pg_ctl, which puts the paths into a shell command line, where a `$` or a quote in
 * a folder's name breaks it. `detached` gives it a session of its own: Ctrl-C stays here.
 * @param log open for appending; all that the server says goes there
 * @param untilMs a time of Date.now() at which to stop waiting (the server goes on starting)
 * @returns whether it is up; if not, the log says why
 * @throws KlinekeepError (78) when the program cannot run here.
 */
export async function spawnPostmaster(options: {
  postgres: string;
  pgdata: string;
  port: number;
  log: FileHandle;
  user: ServerUser | undefined;
  untilMs: number;
}): Promise<boolean> {
  const { pgdata, port, log, untilMs } = options;
  const settings = Object.entries({ ...SETTINGS, port }).flatMap(([k, v]) => ['-c', `${k}=${v}`]);
  const child = spawn(options.postgres, ['-D', pgdata, ...settings], {
    ...spawnOptions(options.user),
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  });
  await once(child, 'spawn').catch((error) => {
    throw unloadable(options.postgres, String(error)) ?? error;
  });
  child.unref();
  while (isRunning(child) && Date.now() < untilMs) {
    const found = await findPostmaster(pgdata);
    if (found.state === 'running' && found.pid === child.pid) return true;
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  return false;
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** The end of a log file from byte `fromByte` on, at most `lines` lines. */
export async function readLogTail(path: string, fromByte: number, lines: number): Promise<string> {
  const file = await open(path).catch(() => undefined);
  if (!file) return '';
  try {
    const { size } = await file.stat();
    const from = Math.max(fromByte, size - 64 * 1024);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    return buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n').slice(-lines).join('\n');
  } finally {
    await file.close();
  }
}
