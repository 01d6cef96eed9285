import type { Socket } from 'node:net';
import postgres from 'postgres';
import { describeError, EXIT, KlinekeepError } from '../base/mod.ts';
import { type Address, formatAddress, parseAddress } from './address.ts';
import { connect } from './connect.ts';
import { failedSocket, handOver } from './driver-socket.ts';
import { watchConnection } from './heartbeat.ts';
import type { ConnectOptions } from './log-in.ts';

/** One connection of its own, for work that needs session state: locks and the staging table. */
export type Session = postgres.Sql;

export interface Database {
  /** For other programs, such as psql. It may contain a password. */
  url: string;
  /**
   * For reads and bookkeeping. Scripts have only one connection here, so a query must not wait for
   * another one to end, as a query inside a transaction or a cursor would.
   */
  sql: postgres.Sql;
  /** @param patienceMs how long to retry while the server has no free connection; default 30 s */
  openSession(patienceMs?: number): Session;
  /** Ends all connections within five seconds. */
  close(): Promise<void>;
}

/**
 * Connects to PostgreSQL.
 * @param url any form that psql takes; see `parseAddress`
 * @param name shown in pg_stat_activity as application_name, e.g. `klinekeep archive`
 * @param options.env variables such as PGHOST for what the url omits. Default: none.
 * @param options.connections the most connections of `sql`. Default: one.
 * @throws KlinekeepError (78) when the address cannot work, (69) when no server answers there.
 */
export async function connectDatabase(
  url: string,
  name: string,
  { env = {}, connections = 1 }: { env?: NodeJS.ProcessEnv; connections?: number } = {},
): Promise<Database> {
  const address = parseAddress(url, env);
  const sessions: Session[] = [];
  const sockets = new Set<Socket>();
  const closing = new AbortController();
  const open = (patienceMs = PATIENCE_MS, max = 1): Session => {
    const options = { applicationName: name, signal: closing.signal, patienceMs };
    const session = openSession(address, options, max, sockets);
    sessions.push(session);
    return session;
  };

  const close = async (timeoutS: number) => {
    closing.abort(closedError);
    await Promise.all(sessions.map((session) => session.end({ timeout: timeoutS })));
    // A peer that is gone does not answer the end of the connection.
    for (const socket of sockets) socket.destroy();
  };
  const sql = open(PATIENCE_MS, connections);
  try {
    await sql`select 1`;
    return {
      url,
      sql,
      openSession: (patienceMs) => open(patienceMs),
      close: () => close(CLOSE_WITHIN_S),
    };
  } catch (error) {
    await close(0);
    throw unavailable(address, error);
  }
}

const CLOSE_WITHIN_S = 5;
/** How long connecting to a server without a free connection is retried. */
const PATIENCE_MS = 30_000;

function openSession(
  address: Address,
  options: ConnectOptions,
  max: number,
  sockets: Set<Socket>,
): Session {
  const disconnection = new AbortController();
  const { hosts, database, user } = address;
  const session = postgres({
    host: hosts.map(({ host }) => host),
    port: hosts.map(({ port }) => port),
    database,
    user,
    pass: '',
    max,
    socket: async () => {
      const socket = await connect(address, options).then(handOver, failedSocket);
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      watchConnection(session, socket, address, options);
      return socket;
    },
    // The handshake has been done, whatever the driver finds in the environment.
    ssl: false,
    sslnegotiation: null,
    target_session_attrs: 'primary',
    connect_timeout: 0,
    // By default, the driver ends connections after half an hour.
    idle_timeout: 0,
    max_lifetime: 0,
    // The sixth run of a prepared statement uses a generic plan, which locks every partition.
    prepare: false,
    // Only arrays need the types. If the connection is lost while the driver fetches them, it rejects a
    // promise that no caller can catch.
    fetch_types: false,
    onnotice: () => {},
    onclose: () => disconnection.abort(closedError),
  } as object) as Session;
  disconnections.set(session, disconnection.signal);
  return session;
}

const disconnections = new WeakMap<Session, AbortSignal>();
const closedError = Object.assign(new Error('the connection was closed'), {
  code: 'CONNECTION_CLOSED',
});

/**
 * Aborted when the session is disconnected, which cannot be used afterwards: postgres.js 3.4.9 drops
 * what it was about to write. Such a query never settles, and later ones are never sent, not even over
 * a new connection.
 */
export function disconnected(session: Session): AbortSignal {
  return disconnections.get(session) ?? new AbortController().signal;
}

const LOST = new Set([
  ...['CONNECTION_CLOSED', 'CONNECTION_DESTROYED', 'CONNECTION_ENDED', 'CONNECT_TIMEOUT'],
  ...['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ETIMEDOUT'],
  // admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections
  ...['57P01', '57P02', '57P03', '53300'],
]);

/** Whether an error, or one of its causes, means that PostgreSQL is gone or has no free connection. */
export function isConnectionLost(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (LOST.has((at as NodeJS.ErrnoException).code ?? '')) return true;
  }
  return false;
}

/**
 * Whether an error can be ignored because `disconnected` reports its cause: postgres.js 3.4.9 may
 * write once more to a lost connection, from a timer where the error cannot be caught.
 */
export function isWriteAfterLoss(error: { message?: string; stack?: string }): boolean {
  return (
    (error.message?.includes("of null (reading 'write')") ?? false) &&
    (error.stack?.includes('postgres/src/connection.js') ?? false)
  );
}

function unavailable(address: Address, cause: unknown): KlinekeepError {
  const isConfig = cause instanceof KlinekeepError && cause.exitCode === EXIT.config;
  const text = isConfig ? `${cause.message}.` : describeError(cause);
  const hint =
    'Start the server, correct DATABASE_URL, or leave DATABASE_URL unset to use the embedded server.';
  return new KlinekeepError(
    isConfig ? 'config' : 'unavailable',
    `Cannot connect to PostgreSQL at DATABASE_URL (${formatAddress(address)}): ${text}`,
    { hint: (isConfig && cause.hint) || hint, cause },
  );
}
