/** Reads the three forms of a connection string into libpq's parameters, as psql does. */
import { configError, type KlinekeepError } from '../base/mod.ts';

/**
 * Reads a URI, `name=value` pairs, or the folder of a Unix socket.
 * @throws KlinekeepError (78) naming the invalid part, never its value: it may be a password.
 */
export function readConnectionString(text: string): Record<string, string> {
  const uri = /^postgres(?:ql)?:\/\/(.*)$/s.exec(text)?.[1];
  if (uri !== undefined) return readUri(uri);
  if (/^\w+\s*=/.test(text)) return readPairs(text);
  const [folder, dbname, ...rest] = text.split(' ');
  if (folder?.startsWith('/') && rest.length === 0)
    return { host: folder, ...(dbname ? { dbname } : {}) };
  throw malformed('it does not start with postgres://');
}

/** Follows the grammar of libpq's conninfo_uri_parse. */
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
  const parameters: Record<string, string> = {
    user,
    password: password.join(':'),
    host: hosts.map(({ host }) => host).join(','),
    port: hosts.map(({ port }) => port).join(','),
    dbname: path,
  };
  for (const pair of query.split('&').filter(Boolean)) {
    const [name = '', ...value] = pair.split('=');
    // Other libraries write ssl=true for sslmode=require.
    if (name === 'ssl') parameters.sslmode = value[0] === 'true' ? 'require' : 'disable';
    else parameters[name] = value.join('=');
  }
  return Object.fromEntries(
    Object.entries(parameters)
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

/** Removes the password from a connection string, for the command line of another program. */
export function withoutPassword(text: string): string {
  return text
    .replace(/^(\s*postgres(?:ql)?:\/\/[^:@/?]*):[^@/?]*@/, '$1@')
    .replace(/(?<=[?&])password=[^&]*&?/, '')
    .replace(/(?<=^|\s)password\s*=\s*(?:'(?:\\.|[^'\\])*'|(?:\\.|[^\s'\\])*)/s, '');
}

export function malformed(found: string, hint?: string): KlinekeepError {
  return configError(
    `Cannot read DATABASE_URL: ${found}.`,
    hint ??
      'Expected: postgres://user:password@host:5432/database, or any other form that psql takes.',
  );
}
