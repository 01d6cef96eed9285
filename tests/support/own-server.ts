import { spawn } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEmbedded, stopEmbedded } from '../../lib/embedded/cluster.ts';
import { ensureData } from '../../lib/embedded/pgdata.ts';
import { findPostmaster } from '../../lib/embedded/postmaster.ts';
import { findPrograms, spawnOptions } from '../../lib/embedded/programs.ts';
import { findServerUser } from '../../lib/embedded/server-user.ts';

const START_TIMEOUT_MS = 60_000;

/** Settings of postgresql.conf, e.g. `{ max_locks_per_transaction: 10 }`. */
export type ServerSettings = Record<string, string | number>;

export interface OwnServer {
  /** The folder of its data. */
  home: string;
  /** The address of an empty database. */
  url: string;
  /** Stops the server and deletes its data. */
  stop(): Promise<void>;
}

/**
 * Starts a server with these settings, and PostgreSQL's defaults for all others; the embedded
 * server would set some of its own.
 */
export async function startOwnServer(settings: ServerSettings = {}): Promise<OwnServer> {
  const home = await mkdtemp(join(tmpdir(), 'klinekeep-own-'));
  await chmod(home, 0o711);
  const stop = async () => {
    await stopEmbedded(home);
    await rm(home, { recursive: true });
  };
  try {
    await launch(home, settings);
    // It runs already, so this only creates the database.
    return { home, url: await startEmbedded(home), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function launch(home: string, settings: ServerSettings): Promise<void> {
  const programs = await findPrograms();
  const user = await findServerUser(home);
  await ensureData(home, programs, user);
  const pgdata = join(home, 'pgdata');
  const fixed = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    fsync: 'off',
    port: await findFreePort(),
  };
  const words = Object.entries({ ...settings, ...fixed }).flatMap((each) => ['-c', each.join('=')]);
  const child = spawn(programs.postgres, ['-D', pgdata, ...words], {
    ...spawnOptions(user),
    detached: true,
    stdio: 'ignore',
  });
  child.unref();
  const untilMs = Date.now() + START_TIMEOUT_MS;
  while ((await findPostmaster(pgdata)).state !== 'running') {
    if (child.exitCode !== null || Date.now() > untilMs)
      throw new Error(`no server came up with ${words.join(' ')}`);
    await sleep(15);
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  const { port } = server.address() as AddressInfo;
  await new Promise((settle) => server.close(settle));
  return port;
}
