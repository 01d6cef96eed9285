/** The server process, found through postmaster.pid in the data directory. */
import { readFile, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KlinekeepError } from '../base/mod.ts';

export interface Server {
  pid: number;
  port: number;
  /** Accepts connections: it is neither starting, nor recovering, nor stopping. */
  isReady: boolean;
}

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
 * Removes a postmaster.pid whose number now belongs to another program of the same user, or to a
 * zombie: PostgreSQL takes it for a running server and would never start again. If a server runs
 * nevertheless, its shared memory keeps a second one out.
 */
export async function removeStalePidFile(pgdata: string): Promise<void> {
  const file = await readPidFile(pgdata);
  if (!file || !hasProcess(file.pid) || (await isServer(file.pid, pgdata))) return;
  await unlink(join(pgdata, 'postmaster.pid')).catch(() => {});
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
  throw new KlinekeepError('unavailable', `PostgreSQL (pid ${server.pid}) did not stop.`, {
    hint: `See ${join(home, 'postgres.log')}.`,
  });
}
