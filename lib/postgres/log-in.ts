import pg from 'pg';
import { configError, untilAborted } from '../base/mod.ts';
import { type Address, formatAddress, type Host } from './address.ts';
import { internals } from './driver-socket.ts';
import { readPasswordFile } from './password-file.ts';
import type { TlsAttempt } from './tls.ts';

export interface ConnectOptions {
  /** Shown in pg_stat_activity. */
  applicationName: string;
  /** Cancels the attempt. */
  signal: AbortSignal;
  /** How long to retry while the server starts or has no free connection. */
  patienceMs: number;
}

const KEEPALIVE_AFTER_MS = 15_000;

/**
 * Does one handshake with one host, with or without TLS.
 * @throws the server's error, or KlinekeepError (78)
 */
export async function logIn(
  address: Address,
  host: Host,
  tls: TlsAttempt,
  { applicationName, signal }: ConnectOptions,
): Promise<pg.Client> {
  const { user, database, channelBinding } = address;
  let isBound = false;
  const assertBound = () => {
    if (channelBinding !== 'require' || isBound) return;
    throw configError(
      'channel_binding=require is given, but the server does not offer SCRAM-SHA-256-PLUS',
      'Use TLS and a role with a SCRAM password, or channel_binding=prefer.',
    );
  };
  const client = new pg.Client({
    host: host.hostaddr ?? host.host,
    port: host.port,
    user,
    database,
    password: async () => {
      assertBound();
      return await findPassword(address, host);
    },
    ssl: tls,
    sslnegotiation: address.tls.sslnegotiation === 'direct' && tls ? 'direct' : 'postgres',
    application_name: applicationName,
    enableChannelBinding: channelBinding !== 'disable' && tls !== false,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_AFTER_MS,
  } as pg.ClientConfig);
  const { connection, connectionParameters } = internals(client);
  // node-postgres would take missing options from the environment, which `address` has read already.
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

/** Destroys the connection if the work on it fails, takes too long, or is aborted. */
export async function withDeadline<T>(
  client: pg.Client,
  address: Address,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = AbortSignal.timeout(address.connectTimeoutMs);
  try {
    signal.throwIfAborted();
    return await untilAborted(work(), AbortSignal.any([signal, deadline]));
  } catch (error) {
    internals(client).connection.stream.destroy();
    signal.throwIfAborted();
    throw deadline.aborted ? timeoutError(address) : explain(error);
  }
}

/** @throws KlinekeepError (78) when neither the address nor the password file has a password. */
async function findPassword(address: Address, { host, port }: Host): Promise<string> {
  const { passFile, user, database } = address;
  const name = host.startsWith('/') ? 'localhost' : host;
  const password =
    address.password ?? (await readPasswordFile(passFile, [name, String(port), database, user]));
  if (password !== undefined) return password;
  throw configError(
    `the server requires a password for ${user}, and none is given`,
    `Add it to DATABASE_URL, PGPASSWORD or ${passFile}, which is ignored if other users may read it (chmod 600).`,
  );
}

function timeoutError(address: Address): Error {
  const text = `no answer from ${formatAddress(address)} within ${address.connectTimeoutMs / 1000} s`;
  return Object.assign(new Error(text), { code: 'CONNECT_TIMEOUT' });
}

/** Adds postgres.js's code to an error that node-postgres throws without one. */
function explain(error: unknown): unknown {
  if (!(error instanceof Error) || !/^Connection terminated/.test(error.message)) return error;
  const text = 'the server, or a proxy in front of it, closed the connection during the handshake';
  return Object.assign(new Error(text, { cause: error }), { code: 'CONNECTION_CLOSED' });
}
