import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import pg from 'pg';
import passwordFile from 'pgpass/lib/helper.js';
import { KlinekeepError } from '../errors.ts';
import { allowWaiters, wait } from '../retry.ts';
import { renderSql, SqlText } from '../sql-file.ts';
import { type Address, formatAddress, type Host } from './address.ts';
import { internalsOf } from './driver-socket.ts';
import { assertOwnServerProcess } from './pooler.ts';
import { type TlsAttempt, tlsAttempts } from './tls.ts';

export interface ConnectOptions {
  /** Shown in pg_stat_activity. */
  applicationName: string;
  /** Ends the attempt. */
  signal: AbortSignal;
  /** How long to wait for a free connection, or for a server that is starting. */
  patienceMs: number;
}

/** too_many_connections; cannot_connect_now: the server starts or stops. */
const BUSY = new Set(['53300', '57P03']);
/** invalid_authorization_specification: pg_hba.conf may allow it with, or without, TLS. */
const NOT_THIS_WAY = '28000';
const NO_TLS = /server does not support SSL/;
const BROKEN_TLS = /^(ERR_SSL|EPROTO)/;
const KEEPALIVE_AFTER_MS = 15_000;

/** Servers that have said that they do not know TLS: a run asks them only once. */
const withoutTls = new WeakSet<Host>();

/**
 * Opens one connection and gives it the settings that klinekeep depends on.
 *
 * The handshake is node-postgres's, since postgres.js knows neither `sslmode=prefer` beside
 * certificates, nor channel binding, and reconnects without pause to a server that hangs up.
 * @returns a client that has sent its last query; `handOver` takes its socket
 * @throws KlinekeepError (78) when the address cannot work; an error with SQLSTATE, or with a
 * system's code, when the server does not let us in.
 */
export async function connect(address: Address, options: ConnectOptions): Promise<pg.Client> {
  const giveUpMs = performance.now() + options.patienceMs;
  for (let delayMs = 100; ; delayMs = Math.min(2 * delayMs, 2_000)) {
    try {
      return await connectToAny(address, options);
    } catch (error) {
      if (!BUSY.has(codeOf(error)) || performance.now() >= giveUpMs) throw error;
      await wait(delayMs * (0.5 + Math.random() / 2), options.signal);
    }
  }
}

/** The first of the hosts that answers and is what `target_session_attrs` wants. */
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
    const hasOtherWay =
      NO_TLS.test(error.message) ||
      codeOf(error) === NOT_THIS_WAY ||
      BROKEN_TLS.test(codeOf(error));
    if (second === undefined || tls === second || !hasOtherWay) throw error;
    if (NO_TLS.test(error.message)) withoutTls.add(host);
    tls = second;
    return open();
  });
  let fits = false;
  await withDeadline(client, address, options.signal, async () => {
    await prepare(client, address, open);
    fits = await hasState(client, target);
  });
  return { client, fits };
}

async function logIn(
  address: Address,
  host: Host,
  tls: TlsAttempt,
  { applicationName, signal }: ConnectOptions,
): Promise<pg.Client> {
  const { user, database, channelBinding } = address;
  let isBound = false;
  const assertBound = () => {
    if (channelBinding !== 'require' || isBound) return;
    throw new KlinekeepError(
      'config',
      'channel_binding=require is given, and the server does not offer SCRAM-SHA-256-PLUS',
      { hint: 'Use TLS and a role with a SCRAM password, or channel_binding=prefer.' },
    );
  };
  const client = new pg.Client({
    host: host.hostaddr ?? host.host,
    port: host.port,
    user,
    database,
    password: async () => {
      assertBound();
      return address.password ?? (await readPasswordFile(address, host));
    },
    ssl: tls,
    sslnegotiation: address.tls.sslnegotiation === 'direct' && tls ? 'direct' : 'postgres',
    application_name: applicationName,
    enableChannelBinding: channelBinding !== 'disable' && tls !== false,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_AFTER_MS,
  } as pg.ClientConfig);
  const { connection, connectionParameters } = internalsOf(client);
  // node-postgres takes what is left out from the environment, which `address` has read already.
  connectionParameters.options = address.options;
  client.on('error', () => {});
  connection.on('authenticationSASL', ({ mechanisms }) => {
    isBound = tls !== false && mechanisms.includes('SCRAM-SHA-256-PLUS');
  });
  await withDeadline(client, address, signal, async () => {
    await client.connect();
    assertBound();
  });
  return client;
}

/** Destroys the connection when the work on it fails, takes too long, or is aborted. */
async function withDeadline(
  client: pg.Client,
  address: Address,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  let reason: Error | undefined;
  const cut = (error: Error) => {
    reason = error;
    internalsOf(client).connection.stream.destroy(error);
  };
  const onAbort = () => cut(signal.reason);
  const deadline = setTimeout(() => cut(timeoutError(address)), address.connectTimeoutMs);
  allowWaiters(signal);
  signal.addEventListener('abort', onAbort);
  try {
    signal.throwIfAborted();
    await work();
  } catch (error) {
    internalsOf(client).connection.stream.destroy();
    throw reason ?? explain(error);
  } finally {
    clearTimeout(deadline);
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Sets what klinekeep depends on. Behind a pooler, which announces another process number than the
 * server has, only after it is certain that the connection keeps its server process.
 */
async function prepare(
  client: pg.Client,
  address: Address,
  openSecond: () => Promise<pg.Client>,
): Promise<void> {
  const announced = new SqlText(String(internalsOf(client).processID));
  const { rowCount } = await client.query(renderSql('postgres/settings.sql', { pid: announced }));
  if (rowCount === 0) {
    await assertOwnServerProcess(client, address, openSecond);
    const actual = new SqlText('pg_backend_pid()');
    await client.query(renderSql('postgres/settings.sql', { pid: actual }));
  }
  for (const [name, value] of address.settings) {
    await client.query('select set_config($1, $2, false)', [name, value]).catch((error) => {
      throw new KlinekeepError('config', `Cannot set ${name} from DATABASE_URL: ${error.message}`, {
        hint: 'Correct options=… in DATABASE_URL.',
        cause: error,
      });
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

/** https://www.postgresql.org/docs/current/libpq-pgpass.html */
async function readPasswordFile(address: Address, { host, port }: Host): Promise<string> {
  const { passFile: path, user, database } = address;
  const file = await stat(path).catch(() => undefined);
  const name = host.startsWith('/') ? 'localhost' : host;
  const found =
    file && passwordFile.usePgPass(file, path)
      ? await new Promise<string | undefined>((settle) => {
          passwordFile.getPassword(
            { host: name, port, database, user },
            createReadStream(path),
            settle,
          );
        })
      : undefined;
  if (found !== undefined) return found;
  throw new KlinekeepError('config', `the server asks for ${user}'s password and none is given`, {
    hint: `Put it into DATABASE_URL, PGPASSWORD or ${path} (readable by you alone).`,
  });
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}

/** Whether no server is there, or none that lets anyone in now: another host may do better. */
export function isUnreachable(error: unknown): boolean {
  return (
    !(error instanceof KlinekeepError) &&
    (!/^[0-9A-Z]{5}$/.test(codeOf(error)) || /^(53|57)/.test(codeOf(error)))
  );
}

function timeoutError(address: Address): Error {
  const text = `no answer from ${formatAddress(address)} within ${address.connectTimeoutMs / 1000} s`;
  return Object.assign(new Error(text), { code: 'CONNECT_TIMEOUT' });
}

/** Gives what node-postgres throws without a code the one of postgres.js. */
function explain(error: unknown): unknown {
  if (!(error instanceof Error) || !/^Connection terminated/.test(error.message)) return error;
  const text = 'the server, or a proxy in front of it, closed the connection during the handshake';
  return Object.assign(new Error(text, { cause: error }), { code: 'CONNECTION_CLOSED' });
}
