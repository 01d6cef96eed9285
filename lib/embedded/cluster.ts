import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import postgres from 'postgres';
import { configError, describeError, KlinekeepError, retry } from '../base/mod.ts';
import { createData, DB_USER, makeHome, readPassword } from './data.ts';
import { findPrograms, type Programs } from './programs.ts';
import { findServer, type Server, stopServer } from './server.ts';
import { assertReachable, findServerUser, userName } from './server-user.ts';
import { type Settings, startServer } from './start.ts';

export type EmbeddedStatus =
  | { state: 'running'; url: string; pid: number; port: number; version: string }
  | { state: 'stopped' }
  | { state: 'absent' };

const DEFAULT_DATABASE = 'klines';

/**
 * Makes sure that the embedded server runs and has the database. The server outlives this
 * process, and the next one finds it within milliseconds.
 * @param home the folder of the data (`pgdata`), the port and the log
 * @param options.database default `klines`; letters, digits, `_` and `-` only
 * @param options.programs default: the PostgreSQL that is installed with this project
 * @param options.settings of postgresql.conf, instead of ours
 * @returns the address, `postgres://klinekeep:<password>@127.0.0.1:<port>/<database>`
 * @throws KlinekeepError (78) when this user cannot run or reach it, (69) when it does not start.
 */
export async function startEmbedded(
  home: string,
  options: { database?: string; programs?: Programs; settings?: Settings } = {},
): Promise<string> {
  const { database = DEFAULT_DATABASE } = options;
  // postgres.js takes the name from the address literally, without decoding %20.
  if (!/^[\w-]{1,63}$/.test(database)) {
    throw new KlinekeepError('usage', `Cannot name a database ${JSON.stringify(database)}.`, {
      hint: 'Expected: 1 to 63 letters (a-z), digits, _ and -.',
    });
  }
  return await explainAccess(home, async (folder) => {
    const pgdata = join(folder, 'pgdata');
    const start = async () => {
      const found = await findServer(pgdata);
      const server = found?.isReady ? found : await launch(folder, options);
      const url = await readAddress(pgdata, server);
      await withConnection(url('postgres'), (sql) => ensureDatabase(sql, database));
      return url(database);
    };
    return await retry(start, { attempts: 8, isTransient });
  });
}

/** The server died a moment ago, is recovering, or has no free connection. */
function isTransient(error: unknown): boolean {
  const { code = '' } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
  return ['ECONNREFUSED', 'ECONNRESET', 'CONNECTION_CLOSED', '57P03', '53300'].includes(code);
}

/** Creates the data directory if needed, and starts the server as a user who may run it. */
async function launch(
  home: string,
  options: { programs?: Programs; settings?: Settings },
): Promise<Server> {
  const programs = options.programs ?? (await findPrograms());
  const user = await findServerUser(home);
  if (user) await assertReachable(user, programs.postgres, 'or move the checkout, e.g. to /opt;');
  await makeHome(home);
  if (user) {
    const elsewhere = 'or set KLINES_HOME to a folder elsewhere, e.g. /opt/klines;';
    await assertReachable(user, home, elsewhere);
  }
  await createData(home, programs, user);
  return await startServer(home, programs, user, options.settings);
}

/**
 * Stops the server; open transactions are rolled back.
 * @returns false when it was not running.
 * @throws KlinekeepError (78) when it belongs to another user, (69) when it does not stop in a minute.
 */
export async function stopEmbedded(home: string): Promise<boolean> {
  return await explainAccess(home, stopServer);
}

/**
 * `absent`: never started. `version` is what the server reports, e.g. `18.4`.
 * @throws KlinekeepError (78) when it belongs to another user.
 */
export async function embeddedStatus(home: string): Promise<EmbeddedStatus> {
  return await explainAccess(home, async (folder) => {
    const pgdata = join(folder, 'pgdata');
    const server = await findServer(pgdata);
    if (!server?.isReady) return { state: existsSync(pgdata) ? 'stopped' : 'absent' };
    const { pid, port } = server;
    const url = await readAddress(pgdata, server);
    const version = await withConnection(url('postgres'), async (sql) => {
      const [row] = await sql<{ server_version: string }[]>`show server_version`;
      return row!.server_version;
    });
    return { state: 'running', url: url(DEFAULT_DATABASE), pid, port, version };
  });
}

/** @returns makes the address of a database */
async function readAddress(
  pgdata: string,
  { port }: Server,
): Promise<(database: string) => string> {
  const password = await readPassword(pgdata);
  return (database) => `postgres://${DB_USER}:${password}@127.0.0.1:${port}/${database}`;
}

async function ensureDatabase(sql: postgres.Sql, database: string): Promise<void> {
  const [existing] = await sql`select 1 from pg_database where datname = ${database}`;
  if (existing) return;
  await sql`create database ${sql(database)}`.catch((error: postgres.PostgresError) => {
    // Another process created it at the same moment.
    if (error.code !== '42P04' && error.code !== '23505') throw error;
  });
}

/** @throws KlinekeepError (69) when the connection or the work fails. */
async function withConnection<T>(url: string, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => {} });
  try {
    return await work(sql);
  } catch (error) {
    throw new KlinekeepError(
      'unavailable',
      `Cannot use the embedded PostgreSQL: ${describeError(error)}`,
      {
        hint:
          'If the password was changed, change it back to the one in pgdata/klinekeep-password.\n' +
          'If pgdata/postmaster.pid names a process that is not PostgreSQL, remove that file.',
        cause: error,
      },
    );
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Runs `work` on the absolute path. @throws KlinekeepError (78) where the system denies access. */
async function explainAccess<T>(home: string, work: (home: string) => Promise<T>): Promise<T> {
  const folder = resolve(home);
  try {
    return await work(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error;
    const owner = await stat(join(folder, 'pgdata')).catch(() => undefined);
    const whose = owner ? `, which belongs to ${userName(owner.uid)}` : '';
    throw configError(
      `${userName(process.getuid?.() ?? -1)} cannot use ${folder}${whose}: ${describeError(error)}`,
      'Run as the user who first started the embedded server; or set KLINES_HOME to a folder of your own, ' +
        'or DATABASE_URL to a PostgreSQL of your own.',
      error,
    );
  }
}
