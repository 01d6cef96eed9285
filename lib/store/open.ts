import { type Env, loadEnv } from '../base/mod.ts';
import {
  assertWritable,
  checkServer,
  connectDatabase,
  type Database,
  findHome,
  migrate,
} from '../postgres/mod.ts';

export interface Klines extends Database {
  /** Whether this session may record its runs: not on a standby, nor with a role that only reads. */
  notesRuns: boolean;
  isStandby: boolean;
}

/**
 * Opens the database of DATABASE_URL, or else the embedded server, and applies pending schema files.
 * Close it when done: `await klines.close()`.
 * @param name shown in pg_stat_activity after `klinekeep`
 * @param options.connections the most connections that `sql` may open
 * @param options.writes true: fails at once where nothing can be written
 * @throws KlinekeepError (69) when no server answers, (78) when the settings, the server, the role or
 * the schema do not fit.
 */
export async function openKlines(
  name = 'script',
  env: Env = loadEnv(process.env),
  { writes = false, connections = 4 }: { writes?: boolean; connections?: number } = {},
): Promise<Klines> {
  const application = `klinekeep ${name}`;
  const database = env.databaseUrl
    ? await connectDatabase(env.databaseUrl, application, { env: process.env, connections })
    : await connectDatabase(await startEmbeddedServer(env), application, {
        env: { PGSSLMODE: 'disable' },
        connections,
      });
  try {
    await checkServer(database.sql);
    await migrate(database.sql);
    const home = await findHome(database.sql);
    if (writes) assertWritable(home);
    const notesRuns = !home.isReadOnly && (home.isOwner || home.mayWriteRuns);
    return { ...database, notesRuns, isStandby: home.isStandby };
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function startEmbeddedServer(env: Env): Promise<string> {
  const { startEmbedded } = await import('../embedded/mod.ts');
  return await startEmbedded(env.klinesHome);
}
