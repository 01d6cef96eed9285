/** The folder of the embedded server, and the data directory `pgdata` in it. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
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
import { promisify } from 'node:util';
import { configError, PROJECT_DIR } from '../base/mod.ts';
import { explainUnloadable, OWN_SERVER, type Programs, spawnOptions } from './programs.ts';
import { hasProcess } from './server.ts';
import type { ServerUser } from './server-user.ts';

/** The superuser of the embedded server. */
export const DB_USER = 'klinekeep';

/** The superuser's password, inside the data directory: a copy of one has the other. */
const PASSWORD_FILE = 'klinekeep-password';

const UNFINISHED = 'pgdata.tmp.';

/** Creates the folder. Only its owner may list it, but root's server user must be able to enter. */
export async function makeHome(home: string): Promise<void> {
  if (existsSync(home)) return;
  await mkdir(home, { recursive: true });
  if (process.getuid?.() !== 0) return await chmod(home, 0o700);
  const { uid, gid } = await stat(PROJECT_DIR);
  await chown(home, uid, gid);
  await chmod(home, 0o711);
}

/**
 * Creates `<home>/pgdata` with initdb if it does not exist. initdb works in a temporary folder,
 * which is then renamed, so pgdata is always complete. If two processes do this at once, the second
 * one discards its own.
 * @throws KlinekeepError (78) when initdb fails.
 */
export async function createData(
  home: string,
  programs: Programs,
  user: ServerUser | undefined,
): Promise<void> {
  await removeUnfinished(home);
  if (existsSync(join(home, 'pgdata'))) return;

  const folder = await mkdtemp(join(home, `${UNFINISHED}${process.pid}.`));
  try {
    const [data, password] = [join(folder, 'pgdata'), join(folder, 'password')];
    const text = randomBytes(24).toString('base64url');
    await writeFile(password, text, { mode: 0o600, flush: true });
    if (user) for (const path of [folder, password]) await chown(path, user.uid, user.gid);
    const words = [`--pgdata=${data}`, '--encoding=UTF8', '--locale=C', '--data-checksums'];
    const access = [`--username=${DB_USER}`, `--pwfile=${password}`, '--auth=scram-sha-256'];
    await runInitdb(programs.initdb, [...words, ...access], user);
    await rename(password, join(data, PASSWORD_FILE));
    await rename(data, join(home, 'pgdata')).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Removes the temporary folders of processes that were killed while initdb ran. */
async function removeUnfinished(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    if (!name.startsWith(UNFINISHED)) continue;
    const pid = Number.parseInt(name.slice(UNFINISHED.length), 10);
    if (!hasProcess(pid)) await rm(join(home, name), { recursive: true, force: true });
  }
}

async function runInitdb(
  initdb: string,
  words: string[],
  user: ServerUser | undefined,
): Promise<void> {
  try {
    await promisify(execFile)(initdb, words, spawnOptions(user));
  } catch (error) {
    const output = (error as { stderr?: string }).stderr?.trim() || String(error);
    throw (
      explainUnloadable(initdb, output) ??
      configError(`${initdb} failed: ${output}`, `Fix the cause, or ${OWN_SERVER}.`)
    );
  }
}

/** @throws KlinekeepError (78) when the password file is missing. */
export async function readPassword(pgdata: string): Promise<string> {
  const path = join(pgdata, PASSWORD_FILE);
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw configError(
      `Cannot log in to the embedded PostgreSQL: ${path} is missing.`,
      `Restore the file from a backup; or, if the candles can be fetched again, remove ${pgdata}.`,
    );
  }
}
