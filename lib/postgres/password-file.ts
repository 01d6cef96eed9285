import { readFile, stat } from 'node:fs/promises';

/** host:port:database:user:password, where a backslash escapes a colon or a backslash. */
const ENTRY = new RegExp(`^${'((?:\\\\.|[^:\\\\])*):'.repeat(4)}(.*)$`);

const withoutEscapes = (text: string) => text.replace(/\\(.)/g, '$1');

/**
 * Finds a password in a file such as ~/.pgpass, as libpq does: the first entry that matches.
 * https://www.postgresql.org/docs/current/libpq-pgpass.html
 * @param login host, port, database and user, which an entry may replace with *
 * @returns undefined when no entry matches, or when other users may read the file
 */
export async function readPasswordFile(
  path: string,
  login: readonly string[],
): Promise<string | undefined> {
  const file = await stat(path).catch(() => undefined);
  if (!file?.isFile() || (file.mode & 0o077) !== 0) return undefined;
  for (const line of (await readFile(path, 'utf8')).split(/\r?\n/)) {
    const [, ...fields] = ENTRY.exec(line) ?? [];
    const password = fields.pop();
    if (line.startsWith('#') || password === undefined) continue;
    const matches = fields.every(
      (field, at) => field === '*' || withoutEscapes(field) === login[at],
    );
    if (matches) return withoutEscapes(password);
  }
  return undefined;
}
