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
  /** For other programs, such as psql. It may hold a password. */
  url: string;
  /**
   * For reads and bookkeeping. Scripts have one connection here, which queries share: none of them may
   * wait for another one, as a query inside a transaction or a cursor would.
   */
  sql: postgres.Sql;
  /** @param patienceMs how long to wait where the server has no room. Default: half a minute. */
  openSession(patienceMs?: number): Session;
  /** Ends all connections, at the latest after five seconds. */
  close(): Promise<void>;
}

/**
 * Connects to PostgreSQL.
 * @param url any form that psql takes; see `parseAddress`
 * @param name shown in pg_stat_activity as application_name, e.g. `klinekeep archive`
 * @param options.env for what the url leaves out: PGHOST, PGSSLMODE, … Default: nothing.
 * @param options.connections how many `sql` may have at most. Default: one.
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
    closing.abort(lost);
    await Promise.all(sessions.map((session) => session.end({ timeout: timeoutS })));
    // A peer that has gone away does not answer the farewell either.
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
/** Connections to a full server are tried again for so long. */
const PATIENCE_MS = 30_000;

function openSession(
  address: Address,
  options: ConnectOptions,
  max: number,
  sockets: Set<Socket>,
): Session {
  const loss = new AbortController();
  const { hosts, database, user } = address;
  const session = postgres({
    host: hosts.map(({ host }) => host),
    port: hosts.map(({ port }) => port),
    ...{ database, user, pass: '', max },
    socket: async () => {
      const socket = await connect(address, options).then(handOver, failedSocket);
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      watchConnection(session, socket, address, options);
      return socket;
    },
    // Whatever the environment says: the handshake is not the driver's.
    ...{ ssl: false, sslnegotiation: null, target_session_attrs: 'primary', connect_timeout: 0 },
    // The driver would end connections of runs longer than half an hour.
    ...{ idle_timeout: 0, max_lifetime: 0 },
    // A prepared statement goes generic at its sixth run and then locks every partition.
    prepare: false,
    // Only arrays need them, and nothing here does. If the connection is lost meanwhile, the driver
    // rejects a promise that no caller can reach.
    fetch_types: false,
    onnotice: () => {},
    onclose: () => loss.abort(lost),
  } as object) as Session;
  losses.set(session, loss.signal);
  return session;
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

function unavailable(address: Address, error: unknown): unknown {
  if (error instanceof KlinekeepError && error.exitCode === EXIT.config) {
    return new KlinekeepError(
      'config',
      `Cannot connect to PostgreSQL at DATABASE_URL (${formatAddress(address)}): ${error.message}.`,
      { ...(error.hint ? { hint: error.hint } : {}), cause: error },
    );
  }
  return new KlinekeepError(
    'unavailable',
    `Cannot connect to PostgreSQL at DATABASE_URL (${formatAddress(address)}): ${describeError(error)}`,
    {
      hint: 'Start it or correct DATABASE_URL, or leave DATABASE_URL unset to use the embedded server.',
      cause: error,
    },
  );
}
