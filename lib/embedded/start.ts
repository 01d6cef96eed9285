import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, lchown, open, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KlinekeepError, writeWholeFile } from '../base/mod.ts';
import { explainUnloadable, type Programs, spawnOptions } from './programs.ts';
import { findServer, removeStalePidFile, type Server } from './server.ts';
import type { ServerUser } from './server-user.ts';

export type Settings = Record<string, string | number>;

const SETTINGS: Settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  timezone: 'UTC',
  log_timezone: 'UTC',
  max_connections: 100,
  // A query over all symbols locks every partition and its index.
  max_locks_per_transaction: 256,
  max_wal_size: '2GB',
  shared_buffers: '256MB',
  log_checkpoints: 'off',
};

const START_TIMEOUT_MS = 60_000;

/**
 * Starts the server, or waits for it if another process has started it, until it is ready. The
 * server is detached: neither Ctrl-C nor the end of this process stops it. `pg_ctl start` is not
 * used, because it passes paths through a shell, which expands a `$` in them.
 * @param home holds `pgdata`, which must exist, the log, and the port that was used last
 * @param settings of postgresql.conf; the port is chosen here
 * @throws KlinekeepError (78) when the program cannot run here, (69) when it is not ready in a minute.
 */
export async function startServer(
  home: string,
  programs: Programs,
  user: ServerUser | undefined,
  settings = SETTINGS,
): Promise<Server> {
  const pgdata = join(home, 'pgdata');
  const logPath = join(home, 'postgres.log');
  const log = await open(logPath, 'a+', 0o600);
  try {
    await giveToOwner(home, logPath);
    let child: ChildProcess | undefined;
    let logStart = 0;
    for (const untilMs = Date.now() + START_TIMEOUT_MS; Date.now() < untilMs; await sleep(15)) {
      const server = await findServer(pgdata);
      if (server?.isReady) {
        await writeWholeFile(join(home, 'port'), String(server.port));
        return server;
      }
      // A server that is starting, recovering or stopping is waited for.
      if (server || (child && isRunning(child))) continue;
      if (child) await assertPassing(await readTail(log, logStart), logPath, programs.postgres);
      await removeStalePidFile(pgdata);
      logStart = (await log.stat()).size;
      child = await spawnServer(
        programs.postgres,
        ['-D', pgdata, ...toWords({ ...settings, port: await choosePort(home) })],
        { ...spawnOptions(user), detached: true, stdio: ['ignore', log.fd, log.fd] },
      );
    }
    const lines = lastLines(await readTail(log, logStart), 4);
    throw new KlinekeepError(
      'unavailable',
      `The embedded PostgreSQL is not ready after ${START_TIMEOUT_MS / 1000} s. Its log ends with:\n${lines}`,
      {
        hint:
          `Try again later: after a crash it may still be recovering, or an earlier query may still be running (log: ${logPath}).\n` +
          `If ${join(pgdata, 'postmaster.pid')} names a process that is not PostgreSQL, remove that file.`,
      },
    );
  } finally {
    await log.close();
  }
}

const toWords = (settings: Settings) =>
  Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);

async function spawnServer(
  postgres: string,
  words: string[],
  options: Parameters<typeof spawn>[2],
): Promise<ChildProcess> {
  const child = spawn(postgres, words, options);
  await once(child, 'spawn').catch((error) => {
    throw explainUnloadable(postgres, String(error)) ?? error;
  });
  child.unref();
  return child;
}

const isRunning = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;

/** Another start was quicker, another program took the port, or a query survived a crash. */
const PASSING =
  /lock file "postmaster.pid"|could not create any TCP\/IP sockets|pre-existing shared memory block/;

/**
 * Waits a moment when a start failed for a reason that passes.
 * @throws KlinekeepError when the same start would fail again: (78) or (69).
 */
async function assertPassing(output: string, logPath: string, postgres: string): Promise<void> {
  if (PASSING.test(output)) return await sleep(250);
  throw (
    explainUnloadable(postgres, output) ??
    new KlinekeepError(
      'unavailable',
      `Cannot start the embedded PostgreSQL. It printed:\n${lastLines(output, 8)}`,
      { hint: `The whole log: ${logPath}` },
    )
  );
}

const lastLines = (text: string, count: number) => text.split('\n').slice(-count).join('\n');

/** The end of the log, from a byte on and at most 64 kB. */
async function readTail(log: FileHandle, fromByte: number): Promise<string> {
  const { size } = await log.stat();
  const from = Math.max(fromByte, size - 64 * 1024);
  const { buffer, bytesRead } = await log.read(Buffer.alloc(size - from), 0, size - from, from);
  return buffer.toString('utf8', 0, bytesRead).trimEnd();
}

/** The last used port if it is free; otherwise one from a range where no system picks its own. */
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
  return await new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** What root leaves in another user's folder must belong to that user. */
async function giveToOwner(home: string, path: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(home);
  if (uid !== 0) await lchown(path, uid, gid);
}
