import type pg from 'pg';
import { configError, KlinekeepError, wait } from '../base/mod.ts';
import type { Address, Host } from './address.ts';
import { internals } from './driver-socket.ts';
import { type ConnectOptions, logIn, withDeadline } from './log-in.ts';
import { assertOwnServerProcess } from './pooler.ts';
import { renderSql, SqlText } from './sql-file.ts';
import { SQLSTATE } from './sqlstate.ts';
import { tlsAttempts } from './tls.ts';

/** The server has no free connection, or it is starting or stopping. */
const BUSY = new Set<string>([SQLSTATE.tooManyConnections, SQLSTATE.cannotConnectNow]);
const NO_TLS = /server does not support SSL/;
const BROKEN_TLS = /^(ERR_SSL|EPROTO)/;

/** Servers without TLS, so that a run tries TLS only once. */
const withoutTls = new WeakSet<Host>();

/**
 * Opens one connection with the settings that klinekeep depends on.
 *
 * node-postgres does the handshake, because postgres.js supports neither `sslmode=prefer` with
 * certificates nor channel binding, and reconnects without a pause to a server that hangs up.
 * @returns an idle client whose socket `handOver` takes
 * @throws KlinekeepError (78) when the address cannot work; otherwise an error with SQLSTATE or a
 * system error code.
 */
export async function connect(address: Address, options: ConnectOptions): Promise<pg.Client> {
  const giveUpMs = performance.now() + options.patienceMs;
  for (let delayMs = 100; ; delayMs = Math.min(2 * delayMs, 2_000)) {
    try {
      return await connectToAny(address, options);
    } catch (error) {
      if (!BUSY.has(errorCode(error)) || performance.now() >= giveUpMs) throw error;
      await wait(delayMs * (0.5 + Math.random() / 2), options.signal);
    }
  }
}

/** Connects to the first host that answers and fits `target_session_attrs`. */
async function connectToAny(address: Address, options: ConnectOptions): Promise<pg.Client> {
  let failure: unknown;
  const wanted = address.targetSession;
  for (const target of wanted === 'prefer-standby' ? ['standby', 'any'] : [wanted]) {
    for (const host of address.hosts) {
      try {
        const { client, fits } = await connectToHost(address, host, target, options);
        if (fits) return client;
        client.end().catch(() => {});
        failure = new KlinekeepError('unavailable', `${host.host}:${host.port} is not ${target}`);
      } catch (error) {
        failure = error;
        if (!isUnreachable(error)) throw error;
      }
    }
  }
  throw failure;
}

async function connectToHost(
  address: Address,
  host: Host,
  target: string,
  options: ConnectOptions,
): Promise<{ client: pg.Client; fits: boolean }> {
  const [first, second] = tlsAttempts(address, host);
  let tls = second !== undefined && withoutTls.has(host) ? second : first!;
  const open = () => logIn(address, host, tls, options);
  const client = await open().catch((error) => {
    const mayTryAgain =
      NO_TLS.test(error.message) ||
      errorCode(error) === SQLSTATE.invalidAuthorization ||
      BROKEN_TLS.test(errorCode(error));
    if (second === undefined || tls === second || !mayTryAgain) throw error;
    if (NO_TLS.test(error.message)) withoutTls.add(host);
    tls = second;
    return open();
  });
  const fits = await withDeadline(client, address, options.signal, async () => {
    await prepare(client, address, open);
    return await hasState(client, target);
  });
  return { client, fits };
}

/**
 * Applies our settings. Behind a pooler, which sends another process number than the server's, it
 * first checks that the connection keeps its server process.
 */
async function prepare(
  client: pg.Client,
  address: Address,
  openSecond: () => Promise<pg.Client>,
): Promise<void> {
  const announced = new SqlText(String(internals(client).processID));
  const { rowCount } = await client.query(renderSql('postgres/settings.sql', { pid: announced }));
  if (rowCount === 0) {
    await assertOwnServerProcess(client, address, openSecond);
    const actual = new SqlText('pg_backend_pid()');
    await client.query(renderSql('postgres/settings.sql', { pid: actual }));
  }
  for (const [name, value] of address.settings) {
    await client.query('select set_config($1, $2, false)', [name, value]).catch((error) => {
      throw configError(
        `Cannot set ${name} from DATABASE_URL: ${error.message}`,
        'Correct options=… in DATABASE_URL.',
        error,
      );
    });
  }
}

async function hasState(client: pg.Client, target: string): Promise<boolean> {
  if (target === 'any') return true;
  const { rows } = await client.query(
    `select pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as readonly`,
  );
  const { standby, readonly } = rows[0];
  return { primary: !standby, standby, 'read-write': !readonly, 'read-only': readonly }[target];
}

function errorCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}

/** Whether the server does not run or accepts no connections now, so that another host is tried. */
export function isUnreachable(error: unknown): boolean {
  return (
    !(error instanceof KlinekeepError) &&
    (!/^[0-9A-Z]{5}$/.test(errorCode(error)) || /^(53|57)/.test(errorCode(error)))
  );
}
