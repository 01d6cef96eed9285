import { existsSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { KlinekeepError } from '../base/mod.ts';
import { readService } from './service-file.ts';

/** Where one PostgreSQL server listens. */
export interface Host {
  /** A name, an IP address, or the folder of a Unix socket (begins with /). */
  host: string;
  /** Connect to this IP address; `host` is what the certificate must name. */
  hostaddr: string | undefined;
  port: number;
}

/** What a connection string says, with everything that it leaves out filled in as libpq does. */
export interface Address {
  hosts: Host[];
  user: string;
  database: string;
  /** Undefined: look into `passFile`. */
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

/** libpq's parameters that mean something here. */
const USED =
  'host hostaddr port dbname user password passfile options connect_timeout sslmode sslnegotiation sslrootcert ' +
  'sslcert sslkey sslpassword sslsni channel_binding target_session_attrs load_balance_hosts service servicefile';
/** Those that are set for every connection anyway, or that cannot make a difference. */
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
 * Reads a connection string the way psql does: a URI, `name=value` pairs, or a socket folder.
 * What it leaves out comes from the service file, from PGHOST and its relatives, then from libpq's
 * defaults. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
 *
 * pg-connection-string is not used for this: it knows no list of hosts, no empty host beside a
 * port, and no service.
 * @param env takes the place of the process's environment
 * @throws KlinekeepError (78) naming the part that makes no sense, never its value: it may be a password.
 */
export function parseAddress(text: string, env: NodeJS.ProcessEnv): Address {
  const given = readParameters(text.trim());
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

/** `user@host:port/database`, for messages. It holds no password. */
export function formatAddress({ hosts, user, database }: Address): string {
  const places = hosts.map(
    ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`,
  );
  return `${user}@${places.join(',')}/${database}`;
}

/** The same connection string without its password, for the command line of another program. */
export function withoutPassword(text: string): string {
  return text
    .replace(/^(\s*postgres(?:ql)?:\/\/[^:@/?]*):[^@/?]*@/, '$1@')
    .replace(/(?<=[?&])password=[^&]*&?/, '')
    .replace(/(?<=^|\s)password\s*=\s*(?:'(?:\\.|[^'\\])*'|(?:\\.|[^\s'\\])*)/s, '');
}

function readParameters(text: string): Record<string, string> {
  const uri = /^postgres(?:ql)?:\/\/(.*)$/s.exec(text)?.[1];
  if (uri !== undefined) return readUri(uri);
  if (/^\w+\s*=/.test(text)) return readPairs(text);
  const [folder, dbname, ...rest] = text.split(' ');
  if (folder?.startsWith('/') && rest.length === 0)
    return { host: folder, ...(dbname ? { dbname } : {}) };
  throw malformed('it does not start with postgres://');
}

/** The grammar of libpq's conninfo_uri_parse. */
function readUri(uri: string): Record<string, string> {
  const parts = /^(?:([^@/?]*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(uri);
  const [, login, places = '', path = '', query = ''] = parts ?? [];
  const [user = '', ...password] = login?.split(':') ?? [];
  const hosts = places.split(',').map((place) => {
    const found = /^(\[[^\]]*\]|[^:@]*)(?::(\d*))?$/.exec(place);
    if (!found) {
      throw malformed(
        'its host or port cannot be read',
        'Write special characters of the password as %40 for @, %2F for /, %3A for :, %3F for ?, %23 for #.',
      );
    }
    return { host: found[1]!.replace(/^\[|\]$/g, ''), port: found[2] ?? '' };
  });
  const named: Record<string, string> = {
    user,
    password: password.join(':'),
    host: hosts.map(({ host }) => host).join(','),
    port: hosts.map(({ port }) => port).join(','),
    dbname: path,
  };
  for (const pair of query.split('&').filter(Boolean)) {
    const [name = '', ...value] = pair.split('=');
    // Other libraries write ssl=true for sslmode=require.
    if (name === 'ssl') named.sslmode = value[0] === 'true' ? 'require' : 'disable';
    else named[name] = value.join('=');
  }
  return Object.fromEntries(
    Object.entries(named)
      .filter(([, value]) => value.replaceAll(',', '') !== '')
      .map(([name, value]) => [name, decode(value)]),
  );
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw malformed('a % in it is not followed by two hexadecimal digits', 'Write % as %25.');
  }
}

function readPairs(text: string): Record<string, string> {
  const pair = /\s*(\w+)\s*=\s*(?:'((?:\\.|[^'\\])*)'|((?:\\.|[^\s'\\])*))(?:\s+|$)/gsy;
  const found: Record<string, string> = {};
  let end = 0;
  for (let match = pair.exec(text); match; match = pair.exec(text)) {
    found[match[1]!] = (match[2] ?? match[3] ?? '').replace(/\\(.)/gs, '$1');
    end = pair.lastIndex;
    if (end === text.length) return found;
  }
  throw malformed(`after character ${end} it has no name=value`);
}

/** @returns libpq's parameters that environment variables such as PGHOST set */
function fromEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const nameOf = (parameter: string) =>
    ({ dbname: 'PGDATABASE', connect_timeout: 'PGCONNECT_TIMEOUT' })[parameter] ??
    `PG${parameter.replaceAll('_', '').toUpperCase()}`;
  return Object.fromEntries(
    USED.split(' ').flatMap((parameter) => {
      const value = env[nameOf(parameter)];
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

/** Takes `-c name=value` and `--name=value` out of `options`; what is left goes to the server as it is. */
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

function malformed(found: string, hint?: string): KlinekeepError {
  return new KlinekeepError('config', `Cannot read DATABASE_URL: ${found}.`, {
    hint:
      hint ??
      'Wanted: postgres://user:password@host:5432/database, or any other form that psql takes.',
  });
}
