import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded, stopEmbedded } from '../../lib/embedded.ts';

export interface OwnServer {
  /** The folder of its data. */
  home: string;
  url: string;
  stop(): Promise<void>;
}

/** A PostgreSQL server for one test file, for what cannot be changed on the shared one. */
export async function startOwnServer(): Promise<OwnServer> {
  const home = await mkdtemp(join(tmpdir(), 'klinekeep-own-'));
  await chmod(home, 0o711);
  const url = await startEmbedded(home);
  return {
    home,
    url,
    stop: async () => {
      await stopEmbedded(home);
      await rm(home, { recursive: true });
    },
  };
}
