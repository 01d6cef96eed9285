import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { configError, describeError } from '../base/mod.ts';
import type { Address, Host } from './address.ts';

/** TLS options of one connection; `false`: without TLS. */
export type TlsAttempt = ConnectionOptions | false;

/**
 * Lists what to try for an address, in this order, following libpq's sslmode.
 * https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
 * @throws KlinekeepError (78) when a certificate or key cannot be read.
 */
export function tlsAttempts({ tls }: Pick<Address, 'tls'>, host: Host): TlsAttempt[] {
  // libpq encrypts no Unix socket.
  if (host.host.startsWith('/')) return [false];
  const isDirect = tls.sslnegotiation === 'direct';
  const mode = tls.sslmode ?? (tls.sslrootcert === 'system' ? 'verify-full' : 'prefer');
  switch (mode) {
    case 'disable':
      return [false];
    case 'allow':
      return [false, encrypted(tls, host, mode)];
    case 'prefer':
      return isDirect ? [encrypted(tls, host, mode)] : [encrypted(tls, host, mode), false];
    default:
      return [encrypted(tls, host, mode)];
  }
}

function encrypted(tls: Address['tls'], { host, hostaddr }: Host, mode: string): ConnectionOptions {
  const file = (name: string, usual: string) =>
    tls[name] ?? [join(homedir(), '.postgresql', usual)].find((path) => existsSync(path));
  const root = file('sslrootcert', 'root.crt');
  const cert = file('sslcert', 'postgresql.crt');
  const key = cert === undefined ? undefined : file('sslkey', 'postgresql.key');
  // As in libpq, a root certificate turns require into verify-ca.
  const isVerified = mode.startsWith('verify') || (mode === 'require' && root !== undefined);
  if (isVerified && root === undefined) {
    throw configError(
      `Cannot check the server's certificate: sslmode is ${mode} and no root certificate is given.`,
      'Add sslrootcert=/path/to/ca.pem to DATABASE_URL, or sslrootcert=system for a public CA.',
    );
  }
  const caFile = root === 'system' ? undefined : root;
  return {
    rejectUnauthorized: isVerified,
    ...(mode === 'verify-full' || !isVerified ? {} : { checkServerIdentity: () => undefined }),
    ...(isVerified && caFile ? { ca: read('sslrootcert', caFile) } : {}),
    ...(cert ? { cert: read('sslcert', cert) } : {}),
    ...(key ? { key: read('sslkey', key) } : {}),
    ...(tls.sslpassword ? { passphrase: tls.sslpassword } : {}),
    ...(hostaddr ? { host, servername: host } : {}),
  };
}

function read(parameter: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw configError(
      `Cannot read ${parameter} ${path}: ${describeError(error)}`,
      `Correct ${parameter} in DATABASE_URL.`,
      error,
    );
  }
}
