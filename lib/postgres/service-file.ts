import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { configError } from '../base/mod.ts';

/**
 * Reads the parameters of a connection service.
 * https://www.postgresql.org/docs/current/libpq-pgservice.html
 * @param file the service file, if one is named
 * @throws KlinekeepError (78) when no file defines the service.
 */
export function readService(
  service: string,
  file: string | undefined,
  env: NodeJS.ProcessEnv,
): Record<string, string> {
  const own = file || join(env.HOME ?? homedir(), '.pg_service.conf');
  const files = [own, join(env.PGSYSCONFDIR ?? '/etc/postgresql-common', 'pg_service.conf')];
  for (const path of files.filter((each) => existsSync(each))) {
    const found = readSection(readFileSync(path, 'utf8'), service);
    if (found) return found;
  }
  throw configError(
    `Cannot find the PostgreSQL service "${service}".`,
    `Expected: a section [${service}] in ${files.join(' or ')}.`,
  );
}

function readSection(text: string, service: string): Record<string, string> | undefined {
  let found: Record<string, string> | undefined;
  for (const line of text.split(/\r?\n/).map((each) => each.trim())) {
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('[')) {
      if (found) return found;
      if (line === `[${service}]`) found = {};
    } else if (found) {
      const [name = '', ...value] = line.split('=');
      found[name.trim()] = value.join('=').trim();
    }
  }
  return found;
}
