import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { KlinekeepError, PROJECT_DIR } from '../base/mod.ts';

/** Whom PostgreSQL's programs run as when this process is root: PostgreSQL refuses to be root. */
export interface ServerUser {
  name: string;
  uid: number;
  gid: number;
}

/**
 * The owner of the data, of `home`, or of the project, if one of them is not root; else
 * `postgres`; else `nobody`. Undefined when this process is not root and runs them itself.
 * @throws KlinekeepError (78) when there is nobody to be.
 */
export async function findServerUser(home: string): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = knownUsers();
  for (const folder of [join(home, 'pgdata'), home, PROJECT_DIR]) {
    const uid = await ownerOf(folder);
    const user = uid === 0 ? undefined : users.find((known) => known.uid === uid);
    if (user) return user;
  }
  const user = ['postgres', 'nobody']
    .map((name) => users.find((u) => u.name === name))
    .find(Boolean);
  if (user) return user;
  throw new KlinekeepError(
    'config',
    'PostgreSQL refuses to run as root, and /etc/passwd has neither a postgres nor a nobody.',
    { hint: 'Work as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own.' },
  );
}

/** The name that goes with a uid, for messages. */
export function userName(uid: number): string {
  if (uid === process.getuid?.()) return ownName(uid);
  return knownUsers().find((user) => user.uid === uid)?.name ?? `uid ${uid}`;
}

/** A container may run as a uid that has no name; os.userInfo throws then. */
function ownName(uid: number): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${uid}`;
  }
}

function knownUsers(): ServerUser[] {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 4)
    .map(([name, , uid, gid]) => ({ name: name!, uid: Number(uid), gid: Number(gid) }));
}

/** The uid, or undefined when there is no such file. */
async function ownerOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.uid;
}

/** @throws KlinekeepError (78) naming the folder that keeps `user` from `program`. */
export async function assertRunnable(user: ServerUser, program: string): Promise<void> {
  await assertReachable(user, program, 'or move the checkout, e.g. to /opt;');
}

/** @throws KlinekeepError (78) naming the folder that keeps `user` from entering `home`. */
export async function assertEnterable(user: ServerUser, home: string): Promise<void> {
  await assertReachable(user, home, 'or set KLINES_HOME to a folder elsewhere, e.g. /opt/klines;');
}

async function assertReachable(user: ServerUser, path: string, remedy: string): Promise<void> {
  if (canReach(user, path)) return;
  const folder = (await firstClosed(user, path)) ?? path;
  const mode = ((await stat(folder)).mode & 0o7777).toString(8).padStart(4, '0');
  throw new KlinekeepError(
    'config',
    `PostgreSQL refuses to run as root, so it is run as ${user.name}, ` +
      `who cannot enter ${folder} (mode ${mode}), which is on the way to ${path}.`,
    {
      hint:
        `Work as an ordinary user; ${remedy} or chmod o+x ${folder}; ` +
        'or set DATABASE_URL to a PostgreSQL of your own.',
    },
  );
}

/** Asks the system rather than reading mode bits: access lists count too. */
function canReach({ uid, gid }: ServerUser, path: string): boolean {
  const test = spawnSync('/bin/sh', ['-c', 'test -x "$0"', path], { uid, gid, cwd: '/', env: {} });
  return test.status === 0;
}

async function firstClosed(user: ServerUser, path: string): Promise<string | undefined> {
  const folders = [path];
  for (let at = path; at !== dirname(at); at = dirname(at)) folders.unshift(dirname(at));
  return folders.find((folder) => !canReach(user, folder));
}
