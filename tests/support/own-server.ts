import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded, stopEmbedded } from '../../lib/embedded/cluster.ts';

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
    const fixed = { listen_addresses: '127.0.0.1', unix_socket_directories: '', fsync: 'off' };
    return { home, url: await startEmbedded(home, { settings: { ...settings, ...fixed } }), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
