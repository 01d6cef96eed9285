import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, KlinekeepError } from '../base/mod.ts';
import { ensureDatabase, withConnection } from './databases.ts';
import { assertOurs, DB_USER, readPassword } from './pgdata.ts';
import { findPostmaster } from './postmaster.ts';
import type { Programs } from './programs.ts';
import { launch } from './start.ts';

export type EmbeddedStatus =
  | { state: 'running'; url: string; pid: number; port: number; version: string }
  | { state: 'stopped' }
  | { state: 'absent' };

const DEFAULT_DATABASE = 'klines';
const STOP_TIMEOUT_MS = 60_000;

/**
 * Makes sure that the embedded server runs and has the database. The server outlives this
 * process and is reused by the next one, which then takes a few milliseconds.
 * @param home the folder of the data (`pgdata`), the password, the port and the log
 * @param options.database default `klines`; letters, digits, `_` and `-` only
 * @param options.programs another PostgreSQL than the one that is installed with this project
 * @returns the address, `postgres://klinekeep:<password>@127.0.0.1:<port>/<database>`
 * @throws KlinekeepError (78) when this user cannot run or reach it, (69) when it does not start.
 */
export async function startEmbedded(
  home: string,
  options: { database?: string; programs?: Programs } = {},
): Promise<string> {
  const { database = DEFAULT_DATABASE } = options;
  // postgres.js takes the name from the address as it stands there, %20 and all.
  if (!/^[\w-]{1,63}$/.test(database)) {
    throw new KlinekeepError('usage', `A database cannot be called ${JSON.stringify(database)}.`, {
      hint: 'Wanted: 1 to 63 letters (a-z), digits, _ and -.',
    });
  }
  return await explainingAccess(home, async (folder) => {
    const pgdata = join(folder, 'pgdata');
    const found = await findPostmaster(pgdata);
    const { port } = found.state === 'running' ? found : await launch(folder, options.programs);
    const password = await readPassword(folder);
    await ensureDatabase(pgdata, urlOf(password, port, 'postgres'), database);
    return urlOf(password, port, database);
  });
}

/**
 * Stops the server; open transactions are rolled back.
 * @returns false when it was not running.
 * @throws KlinekeepError (78) when it is another user's, (69) when it has not stopped in a minute.
 */
export async function stopEmbedded(home: string): Promise<boolean> {
  return await explainingAccess(home, async (folder) => {
    const pgdata = join(folder, 'pgdata');
    const found = await findPostmaster(pgdata);
    if (found.state === 'down') return false;
    process.kill(found.pid, 'SIGINT'); // PostgreSQL's "fast shutdown"
    const untilMs = Date.now() + STOP_TIMEOUT_MS;
    while (Date.now() < untilMs) {
      if ((await findPostmaster(pgdata)).state === 'down') return true;
      await sleep(15);
    }
    throw new KlinekeepError('unavailable', `PostgreSQL (pid ${found.pid}) does not stop.`, {
      hint: `See ${join(folder, 'postgres.log')}.`,
    });
  });
}

/**
 * `absent`: never started. `version` is the server's own, e.g. `18.4`.
 * @throws KlinekeepError (78) when it is another user's.
 */
export async function embeddedStatus(home: string): Promise<EmbeddedStatus> {
  return await explainingAccess(home, async (folder) => {
    const pgdata = join(folder, 'pgdata');
    if (!existsSync(pgdata)) return { state: 'absent' };
    const found = await findPostmaster(pgdata);
    if (found.state !== 'running') return { state: 'stopped' };
    const { pid, port } = found;
    const password = await readPassword(folder);
    const version = await withConnection(urlOf(password, port, 'postgres'), async (sql) => {
      const [row] = await sql<{ server_version: string }[]>`show server_version`;
      return row!.server_version;
    });
    return { state: 'running', url: urlOf(password, port, DEFAULT_DATABASE), pid, port, version };
  });
}

function urlOf(password: string, port: number, database: string): string {
  return `postgres://${DB_USER}:${password}@127.0.0.1:${port}/${database}`;
}

/** Runs `work` on the absolute path; whatever the file system forbids becomes a person's error. */
async function explainingAccess<T>(home: string, work: (home: string) => Promise<T>): Promise<T> {
  const folder = resolve(home);
  await assertOurs(folder);
  try {
    return await work(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error;
    throw new KlinekeepError('config', `No access to ${folder}: ${describeError(error)}`, {
      hint: 'Set KLINES_HOME to a folder of your own, or DATABASE_URL to a PostgreSQL of your own.',
      cause: error,
    });
  }
}
