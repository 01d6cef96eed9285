import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { onTestFinished } from 'vitest';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { startEmbedded, stopEmbedded } from '../../lib/embedded/cluster.ts';
import { connectDatabase, type Database } from '../../lib/postgres/connection.ts';
import { migrate } from '../../lib/postgres/migrate.ts';
import { TSX_LOADER } from './script.ts';

/** More than a WAL segment, which has 16 MiB. */
const MAX_FILE_BYTES = 20 * 1024 * 1024;

/**
 * Starts a server whose files cannot grow beyond 20 MiB, so that a larger table fails as on a full disk.
 * It is stopped and deleted when the test ends. `withMoreRoom` restarts it without the limit.
 */
export async function serverWithFullDisk(): Promise<
  Database & { withMoreRoom(): Promise<Database> }
> {
  const home = await mkdtemp(join(tmpdir(), 'klinekeep-full-'));
  await chmod(home, 0o711);
  onTestFinished(async () => {
    await stopEmbedded(home);
    await rm(home, { recursive: true });
  });
  // The server inherits the limit; sh counts it in blocks of 512 bytes.
  const command = `ulimit -f ${MAX_FILE_BYTES / 512}; exec "$@"`;
  const script = resolve(PROJECT_DIR, 'scripts/db.ts');
  const start = [process.execPath, '--import', TSX_LOADER, script, 'start', '--quiet'];
  const child = spawn('sh', ['-c', command, 'sh', ...start], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, KLINES_HOME: home },
    stdio: 'inherit',
  });
  const [exitCode] = await once(child, 'exit');
  if (exitCode !== 0) throw new Error(`The server did not start: exit code ${exitCode}.`);
  const database = await connectDatabase(await startEmbedded(home), 'klinekeep tests');
  onTestFinished(() => database.close());
  await migrate(database.sql);
  const withMoreRoom = async () => {
    await database.close();
    await stopEmbedded(home);
    const restarted = await connectDatabase(await startEmbedded(home), 'klinekeep tests');
    onTestFinished(() => restarted.close());
    return restarted;
  };
  return { ...database, withMoreRoom };
}
