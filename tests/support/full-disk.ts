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

/** One WAL segment is 16 MiB, and PostgreSQL needs those. */
const MAX_FILE_BYTES = 20 * 1024 * 1024;

/**
 * A server of its own for which no file may grow beyond 20 MiB, so that a table that needs more
 * gets the error of a full disk. Stopped and deleted when the test ends. `withMoreRoom` starts it
 * again without the limit.
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
  if (exitCode !== 0) throw new Error(`the server did not start (${exitCode})`);
  const database = await connectDatabase(await startEmbedded(home), 'klinekeep tests');
  onTestFinished(() => database.close());
  await migrate(database.sql);
  const withMoreRoom = async () => {
    await database.close();
    await stopEmbedded(home);
    const again = await connectDatabase(await startEmbedded(home), 'klinekeep tests');
    onTestFinished(() => again.close());
    return again;
  };
  return { ...database, withMoreRoom };
}
