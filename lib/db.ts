import { pipeline } from 'node:stream/promises';
import postgres from 'postgres';
import { describeError, KlinekeepError } from './errors.ts';
import type { Sql } from './sql-file.ts';

/** One connection of its own, for work that needs session state: locks and the staging table. */
export type Session = postgres.Sql;

export interface Database {
  url: string;
  /** A small pool, for reads and for bookkeeping. */
  sql: postgres.Sql;
  openSession(): Session;
  close(): Promise<void>;
}

/**
 * Connects to PostgreSQL.
 * @param url a postgres:// address
 * @param name shown in pg_stat_activity as application_name, e.g. `klinekeep archive`
 * @throws KlinekeepError (69) when the address is wrong or nothing answers there.
 */
export async function connectDatabase(url: string, name: string): Promise<Database> {
  const sessions: Session[] = [];
  const open = (max: number): Session => {
    const loss = new AbortController();
    const session = postgres(url, {
      ...CONNECTION,
      max,
      onclose: () => loss.abort(lost),
      connection: { ...SETTINGS, application_name: name },
    });
    losses.set(session, loss.signal);
    sessions.push(session);
    return session;
  };

  try {
    if (!/^postgres(ql)?:\/\//.test(url)) throw new Error('it does not start with postgres://');
    const sql = open(4);
    await sql`select 1`;
    return {
      url,
      sql,
      openSession: () => open(1),
      close: async () => {
        await Promise.all(sessions.map((session) => session.end({ timeout: 5 })));
      },
    };
  } catch (error) {
    await Promise.all(sessions.map((session) => session.end({ timeout: 0 })));
    throw unavailable(url, error);
  }
}

const losses = new WeakMap<Session, AbortSignal>();
const lost = Object.assign(new Error('the connection was closed'), { code: 'CONNECTION_CLOSED' });

/**
 * Aborted when the session's connection is lost; the session is of no use from then on.
 * postgres.js 3.4.9 forgets what it was about to write when the connection closes: such a query
 * never settles, and what follows it is never sent, not even over a new connection.
 */
export function lossOf(session: Session): AbortSignal {
  return losses.get(session) ?? new AbortController().signal;
}

const CONNECTION = {
  connect_timeout: 10,
  // A prepared statement goes generic at its sixth run and then locks every partition.
  prepare: false,
  // Only arrays need them, nothing here does, and a connection that is lost meanwhile rejects where
  // nobody can catch it.
  fetch_types: false,
  onnotice: () => {},
} as const;

const SETTINGS = {
  TimeZone: 'UTC',
  lock_timeout: 15_000,
  // A killed script must not go on writing: the server looks whether we are still there.
  client_connection_check_interval: '5s',
  idle_in_transaction_session_timeout: 60_000,
  // A long run's bookkeeping has long pauses: 24 days, the most there is. postgres.js leaves out a 0.
  idle_session_timeout: 2_147_483_647,
} as const;

const LOST = new Set([
  ...['CONNECTION_CLOSED', 'CONNECTION_DESTROYED', 'CONNECTION_ENDED', 'CONNECT_TIMEOUT'],
  ...['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ETIMEDOUT'],
  // admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections
  ...['57P01', '57P02', '57P03', '53300'],
]);

/** Whether an error, or one of its causes, says that PostgreSQL has gone away or is full. */
export function isConnectionLost(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (LOST.has((at as NodeJS.ErrnoException).code ?? '')) return true;
  }
  return false;
}

/**
 * postgres.js 3.4.9 can write once more to a connection that has just been lost, from a timer
 * where nobody can catch it. It means nothing: the loss itself is told by `lossOf`.
 */
export function isWriteAfterLoss(error: { message?: string; stack?: string }): boolean {
  return (
    (error.message?.includes("of null (reading 'write')") ?? false) &&
    (error.stack?.includes('postgres/src/connection.js') ?? false)
  );
}

function unavailable(url: string, error: unknown): KlinekeepError {
  return new KlinekeepError(
    'unavailable',
    `PostgreSQL is not to be had at DATABASE_URL (${withoutPassword(url)}): ${describeError(error)}`,
    {
      hint: 'Start it or correct DATABASE_URL, or leave DATABASE_URL unset to use the embedded server.',
      cause: error,
    },
  );
}

function withoutPassword(url: string): string {
  return url.replace(/(:\/\/[^:@/]*):[^@/]*@/, '$1:***@');
}

/**
 * Streams chunks of COPY text into `COPY … FROM STDIN`.
 *
 * postgres.js 3.4.9 never settles the stream when the server rejects the data, so the pipeline
 * races the query's own rejection.
 * @param copy a complete COPY statement
 * @param chunks the data, cut anywhere
 * @throws what PostgreSQL says of the data; the connection stays usable.
 */
export async function copyIn(
  sql: Sql,
  copy: string,
  chunks: Iterable<string | Buffer> | AsyncIterable<string | Buffer>,
): Promise<void> {
  const query = sql.unsafe(copy);
  const rejected = new Promise<never>((_, reject) => {
    const settle = query as unknown as { reject(error: unknown): void };
    const original = settle.reject;
    settle.reject = (error) => {
      reject(error);
      original(error);
    };
  });
  rejected.catch(() => {});
  const sink = await query.writable();
  await Promise.race([pipeline(chunks, sink), rejected]);
}
