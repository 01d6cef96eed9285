import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
  lchown,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { KlinekeepError, PROJECT_DIR } from '../base/mod.ts';
import { isAlive } from './postmaster.ts';
import { type Programs, runProgram } from './programs.ts';
import { type ServerUser, userName } from './server-user.ts';

/** The superuser of the embedded server. */
export const DB_USER = 'klinekeep';

/** Makes the folder if there is none: for its owner alone, but root's server user must get in. */
export async function makeHome(home: string): Promise<void> {
  if (existsSync(home)) return;
  await mkdir(home, { recursive: true });
  if (process.getuid?.() !== 0) return await chmod(home, 0o700);
  const { uid, gid } = await stat(PROJECT_DIR);
  await chown(home, uid, gid);
  await chmod(home, 0o711);
}

/** When root works in somebody else's home, what it leaves there has to be theirs. */
export async function giveToOwner(home: string, path: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(home);
  if (uid !== 0) await lchown(path, uid, gid);
}

/** Writes a small file at one stroke: readers see the old text or the new one. */
export async function remember(folder: string, name: string, text: string): Promise<void> {
  const path = join(folder, name);
  const own = `${path}.tmp.${process.pid}`;
  await writeFile(own, text);
  await giveToOwner(folder, own);
  await rename(own, path);
}

/**
 * Makes `<home>/pgdata` with initdb if it is not there. Complete or not at all: initdb works in
 * a folder beside, which is then renamed. Of two processes at once the second throws its own away.
 * @throws KlinekeepError (78) when initdb fails.
 */
export async function ensureData(
  home: string,
  programs: Programs,
  user: ServerUser | undefined,
): Promise<void> {
  await removeLeftovers(home);
  if (existsSync(join(home, 'pgdata'))) return;

  const password = await ensurePassword(home);
  const folder = await mkdtemp(join(home, `${LEFTOVER}${process.pid}.`));
  try {
    const passwordFile = join(folder, 'password');
    const data = join(folder, 'pgdata');
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (user) {
      await chown(folder, user.uid, user.gid);
      await chown(passwordFile, user.uid, user.gid);
    }
    const args = ['--encoding=UTF8', '--locale=C', '--data-checksums'];
    const access = [`--username=${DB_USER}`, `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
    await runProgram(programs.initdb, [`--pgdata=${data}`, ...args, ...access], user);
    await rename(data, join(home, 'pgdata')).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const LEFTOVER = 'pgdata.tmp.';

/** Folders of processes that were killed during initdb. */
async function removeLeftovers(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    const pid = name.startsWith(LEFTOVER) ? Number.parseInt(name.slice(LEFTOVER.length), 10) : 0;
    if (pid > 0 && !(await isAlive(pid)))
      await rm(join(home, name), { recursive: true, force: true });
  }
}

/**
 * The password of `<home>/password`, made up when there is none. Whoever comes first decides
 * and the rest use theirs, so that it fits whichever pgdata wins.
 */
async function ensurePassword(home: string): Promise<string> {
  const path = join(home, 'password');
  if (!existsSync(path)) {
    const password = randomBytes(24).toString('base64url');
    const own = `${path}.tmp.${process.pid}.${password.slice(0, 6)}`;
    await writeFile(own, password, { mode: 0o600, flag: 'wx', flush: true });
    await giveToOwner(home, own);
    await link(own, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    await rm(own);
  }
  return await readFile(path, 'utf8');
}

/**
 * The password that goes with an existing pgdata.
 * @throws KlinekeepError (78) when it is gone or belongs to somebody else.
 */
export async function readPassword(home: string): Promise<string> {
  const path = join(home, 'password');
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw await notOurs(path, error);
    throw new KlinekeepError('config', `${path} is gone, and ${home}/pgdata is locked with it.`, {
      hint: `Put it back from a backup; or, if the candles can be fetched again, remove ${home}.`,
    });
  }
}

/** @throws KlinekeepError (78) when this process, not being root, may not use `<home>/pgdata`. */
export async function assertOurs(home: string): Promise<void> {
  const path = join(home, 'pgdata');
  const uid = process.getuid?.();
  let owner: number;
  try {
    owner = (await stat(path)).uid;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw await notOurs(path, error);
  }
  if (uid !== 0 && owner !== uid) throw await notOurs(path);
}

async function notOurs(path: string, cause?: unknown): Promise<KlinekeepError> {
  const owner = (await stat(path).catch(() => undefined))?.uid;
  const whose = owner === undefined ? 'is in a folder that is closed' : `is ${userName(owner)}'s`;
  return new KlinekeepError(
    'config',
    `${path} ${whose}, and this is ${userName(process.getuid?.() ?? -1)}.`,
    {
      hint:
        'Work as the user who started it first; or set KLINES_HOME to a folder of your own; ' +
        'or set DATABASE_URL to a PostgreSQL of your own.',
      cause,
    },
  );
}
