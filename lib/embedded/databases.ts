import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { describeError, KlinekeepError } from '../base/mod.ts';
import { remember } from './pgdata.ts';

/**
 * Creates the database if it is missing. Connecting to find out costs 10 to 20 ms, so its oid is
 * noted in pgdata: while `base/<oid>` is there, nobody has dropped it.
 */
export async function ensureDatabase(
  pgdata: string,
  adminUrl: string,
  database: string,
): Promise<void> {
  const oids = await readOids(pgdata);
  const known = oids[database];
  if (known && (await stat(join(pgdata, 'base', String(known))).catch(() => undefined))) return;
  const oid = await withConnection(adminUrl, async (sql) => {
    const find = () =>
      sql<{ oid: number }[]>`select oid from pg_database where datname = ${database}`;
    const [existing] = await find();
    if (existing) return existing.oid;
    await sql`create database ${sql(database)}`.catch((error: postgres.PostgresError) => {
      if (error.code !== '42P04' && error.code !== '23505') throw error;
    });
    return (await find())[0]!.oid;
  });
  await remember(pgdata, OIDS, JSON.stringify({ ...oids, [database]: oid }));
}

const OIDS = 'klinekeep-databases.json';

async function readOids(pgdata: string): Promise<Record<string, number>> {
  try {
    return JSON.parse(await readFile(join(pgdata, OIDS), 'utf8'));
  } catch {
    return {};
  }
}

/**
 * Runs `work` on a connection of its own.
 * @throws KlinekeepError (69) when the connection or the work fails.
 */
export async function withConnection<T>(
  url: string,
  work: (sql: postgres.Sql) => Promise<T>,
): Promise<T> {
  const sql = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => {} });
  try {
    return await work(sql);
  } catch (error) {
    throw new KlinekeepError(
      'unavailable',
      `The embedded PostgreSQL does not let klinekeep in: ${describeError(error)}`,
      {
        hint: 'Its password is in the file `password` beside pgdata; restore both together.',
        cause: error,
      },
    );
  } finally {
    await sql.end({ timeout: 1 });
  }
}
