import { connectDatabase, type Database } from './db.ts';
import { type Env, loadEnv } from './env.ts';
import { migrate } from './migrate.ts';
import { checkServer } from './postgres/server.ts';

/**
 * Opens the database that the settings name, the embedded server if they name none, and applies
 * pending schema files. Close it when done: `await klines.close()`.
 * @param name shown in pg_stat_activity after `klinekeep`
 * @throws KlinekeepError (69) when no server answers, (78) when the settings, the server or the schema do not fit.
 */
export async function openKlines(
  name = 'script',
  env: Env = loadEnv(process.env),
): Promise<Database> {
  const application = `klinekeep ${name}`;
  const database = env.databaseUrl
    ? await connectDatabase(env.databaseUrl, application, process.env)
    : await connectDatabase(await startEmbeddedServer(env), application);
  try {
    await checkServer(database.sql);
    await migrate(database.sql);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function startEmbeddedServer(env: Env): Promise<string> {
  const { startEmbedded } = await import('./embedded.ts');
  return await startEmbedded(env.klinesHome);
}
