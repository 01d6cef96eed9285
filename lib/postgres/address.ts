import { existsSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { malformed, readConnectionString } from './connection-string.ts';
import { readService } from './service-file.ts';

/** Where one PostgreSQL server listens. */
export interface Host {
  /** A name, an IP address, or the folder of a Unix socket (begins with /). */
  host: string;
  /** The IP address to connect to, when `host` is only the name in the certificate. */
  hostaddr: string | undefined;
  port: number;
}

/** A connection string with all omitted parameters filled in, as libpq does. */
export interface Address {
  hosts: Host[];
  user: string;
  database: string;
  /** Undefined: it is read from `passFile`. */
  password: string | undefined;
  passFile: string;
  /** Sent to the server at startup, such as Neon's `endpoint=…`. */
  options: string | undefined;
  /** Settings from `options=-c name=value`. They are set after connecting, since poolers reject `options`. */
  settings: [name: string, value: string][];
  connectTimeoutMs: number;
  /** libpq's parameters that choose TLS: sslmode, sslrootcert, … */
  tls: Record<string, string>;
  channelBinding: 'disable' | 'prefer' | 'require';
  targetSession: string;
}

const DEFAULT_PORT = 5432;
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
/** Where PostgreSQL's packages put the Unix socket. */
const SOCKET_FOLDERS = ['/var/run/postgresql', '/tmp'];

/** libpq's parameters that have an effect here. */
const USED =
  'host hostaddr port dbname user password passfile options connect_timeout sslmode sslnegotiation sslrootcert ' +
  'sslcert sslkey sslpassword sslsni channel_binding target_session_attrs load_balance_hosts service servicefile';
/** Parameters that are always set here, or that make no difference. */
const IGNORED =
  'application_name fallback_application_name client_encoding keepalives keepalives_idle keepalives_interval ' +
  'keepalives_count tcp_user_timeout gssencmode krbsrvname gsslib sslcompression replication';
const KNOWN = new Set([...USED.split(' '), ...IGNORED.split(' ')]);

const CHOICES: Record<string, string[]> = {
  sslmode: ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'],
  sslnegotiation: ['postgres', 'direct'],
  channel_binding: ['disable', 'prefer', 'require'],
  load_balance_hosts: ['disable', 'random'],
  target_session_attrs: ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'],
};

/**
 * Reads a connection string as psql does. Omitted parameters are taken from the service file, then from
 * PGHOST and the other variables, then from libpq's defaults.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
 *
 * pg-connection-string is not used, because it supports neither a list of hosts, nor an empty host with
 * a port, nor a service.
 * @param env used instead of the process's environment
 * @throws KlinekeepError (78) naming the invalid part, never its value: it may be a password.
 */
export function parseAddress(text: string, env: NodeJS.ProcessEnv): Address {
  const given = readConnectionString(text.trim());
  const unknown = Object.keys(given).filter((name) => !KNOWN.has(name));
  if (unknown.length > 0) {
    throw malformed(
      `it has the unknown parameter ${unknown.map((name) => JSON.stringify(name)).join(', ')}`,
      'psql rejects it too. For a schema use ?options=-csearch_path%3Dname.',
    );
  }
  const service = given.service || env.PGSERVICE;
  const values: Record<string, string> = {
    ...fromEnvironment(env),
    ...(service ? readService(service, given.servicefile || env.PGSERVICEFILE, env) : {}),
    ...given,
  };
  for (const [name, choices] of Object.entries(CHOICES)) {
    if (values[name] !== undefined && !choices.includes(values[name]))
      throw malformed(`its ${name} is not one of ${choices.join(', ')}`);
  }

  const user = values.user || systemUser(env);
  const { options, settings } = splitOptions(values.options ?? '');
  const timeoutS = Number(values.connect_timeout ?? Number.NaN);
  const hosts = listHosts(values);
  if (values.load_balance_hosts === 'random') hosts.sort(() => Math.random() - 0.5);
  return {
    hosts,
    user,
    database: values.dbname || user,
    password: values.password || undefined,
    passFile: values.passfile || join(env.HOME ?? homedir(), '.pgpass'),
    options,
    settings,
    connectTimeoutMs: timeoutS > 0 ? Math.max(2, timeoutS) * 1000 : DEFAULT_CONNECT_TIMEOUT_MS,
    tls: Object.fromEntries(
      Object.entries(values).filter(([name, value]) => name.startsWith('ssl') && value !== ''),
    ),
    channelBinding: (values.channel_binding ?? 'prefer') as Address['channelBinding'],
    targetSession: values.target_session_attrs ?? 'any',
  };
}

/** `user@host:port/database`, for messages, without the password. */
export function formatAddress({ hosts, user, database }: Address): string {
  const places = hosts.map(
    ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`,
  );
  return `${user}@${places.join(',')}/${database}`;
}

/** Reads libpq's parameters from environment variables such as PGHOST. */
function fromEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const variable = (parameter: string) =>
    ({ dbname: 'PGDATABASE', connect_timeout: 'PGCONNECT_TIMEOUT' })[parameter] ??
    `PG${parameter.replaceAll('_', '').toUpperCase()}`;
  return Object.fromEntries(
    USED.split(' ').flatMap((parameter) => {
      const value = env[variable(parameter)];
      return value ? [[parameter, value]] : [];
    }),
  );
}

function listHosts({ host = '', hostaddr = '', port = '' }: Record<string, string>): Host[] {
  const [names, addresses, ports] = [host, hostaddr, port].map((list) => list.split(','));
  const count = Math.max(names!.length, addresses!.length);
  if (ports!.length > 1 && ports!.length !== count)
    throw malformed(`it names ${count} hosts and ${ports!.length} ports`);
  return Array.from({ length: count }, (_, index) => {
    const text = (ports!.length > 1 ? ports![index] : ports![0]) || String(DEFAULT_PORT);
    const number = Number(text);
    if (!/^\d+$/.test(text) || number < 1 || number > 65_535)
      throw malformed('its port is not a number from 1 to 65535');
    const address = addresses![index] || undefined;
    return {
      host: names![index] || address || defaultHost(number),
      hostaddr: address,
      port: number,
    };
  });
}

function defaultHost(port: number): string {
  return SOCKET_FOLDERS.find((folder) => existsSync(`${folder}/.s.PGSQL.${port}`)) ?? 'localhost';
}

/** Separates `-c name=value` and `--name=value` from the rest, which is sent to the server unchanged. */
function splitOptions(text: string): Pick<Address, 'options' | 'settings'> {
  const settings: [string, string][] = [];
  const rest: string[] = [];
  for (const word of text.replace(/(?<=^|\s)-c\s+/g, '-c').match(/(?:\\.|\S)+/gs) ?? []) {
    const plain = word.replace(/\\(.)/gs, '$1');
    const setting = /^(?:-c|--)([\w.-]+)=(.*)$/s.exec(plain);
    if (setting) settings.push([setting[1]!.replaceAll('-', '_'), setting[2]!]);
    else rest.push(word);
  }
  return { options: rest.length > 0 ? rest.join(' ') : undefined, settings };
}

function systemUser(env: NodeJS.ProcessEnv): string {
  try {
    return userInfo().username;
  } catch {
    return env.USER || env.LOGNAME || 'postgres';
  }
}
