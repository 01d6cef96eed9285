import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { configError, PROJECT_DIR } from '../base/mod.ts';

/** The user who runs PostgreSQL's programs when this process is root, which PostgreSQL refuses. */
export interface ServerUser {
  name: string;
  uid: number;
  gid: number;
}

/**
 * Finds the first that is not root of: the owner of the data, of `home`, and of the project;
 * otherwise `postgres`; otherwise `nobody`.
 * @returns undefined when this process is not root, and runs the programs itself
 * @throws KlinekeepError (78) when there is no such user.
 */
export async function findServerUser(home: string): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = knownUsers();
  for (const folder of [join(home, 'pgdata'), home, PROJECT_DIR]) {
    const owner = await stat(folder).catch(() => undefined);
    const user = users.find(({ uid }) => uid !== 0 && uid === owner?.uid);
    if (user) return user;
  }
  for (const wanted of ['postgres', 'nobody']) {
    const user = users.find(({ name }) => name === wanted);
    if (user) return user;
  }
  throw configError(
    'PostgreSQL refuses to run as root, and /etc/passwd has no user postgres or nobody.',
    'Run as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own.',
  );
}

/** The name of a user, for messages. A container may run as a uid without a name. */
export function userName(uid: number): string {
  return knownUsers().find((user) => user.uid === uid)?.name ?? `uid ${uid}`;
}

function knownUsers(): ServerUser[] {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 4)
    .map(([name, , uid, gid]) => ({ name: name!, uid: Number(uid), gid: Number(gid) }));
}

/**
 * @param remedy part of the hint: what would make `path` reachable
 * @throws KlinekeepError (78) naming the folder that `user` cannot enter on the way to `path`.
 */
export async function assertReachable(
  user: ServerUser,
  path: string,
  remedy: string,
): Promise<void> {
  const folder = firstClosed(user, path);
  if (folder === undefined) return;
  const mode = ((await stat(folder)).mode & 0o7777).toString(8).padStart(4, '0');
  throw configError(
    `PostgreSQL refuses to run as root, so it runs as ${user.name}, ` +
      `who cannot enter ${folder} (mode ${mode}) on the way to ${path}.`,
    `Run as an ordinary user; ${remedy} or chmod o+x ${folder}; ` +
      'or set DATABASE_URL to a PostgreSQL of your own.',
  );
}

/**
 * Finds the first folder on the way to a path, or the path itself, that a user cannot enter. Asks the
 * system instead of reading mode bits, because access lists count too.
 */
function firstClosed({ uid, gid }: ServerUser, path: string): string | undefined {
  const folders = [path];
  for (let at = path; at !== dirname(at); at = dirname(at)) folders.unshift(dirname(at));
  const test = 'for at; do test -x "$at" || { printf %s "$at"; break; }; done';
  const { stdout } = spawnSync('/bin/sh', ['-c', test, 'sh', ...folders], {
    ...{ uid, gid, cwd: '/', env: {} },
    encoding: 'utf8',
  });
  return stdout || undefined;
}
