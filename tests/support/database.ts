import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject, onTestFinished } from 'vitest';
import { connectDatabase, type Database } from '../../lib/postgres/connection.ts';
import { closers, waitUntilEmpty } from './leaks.ts';

export interface TestDatabase extends Database {
  url: string;
}

/**
 * Creates a database with the schema, dropped when the test ends.
 * @param server default: the server that the file is tested on; otherwise one of SERVERS, such as `14`
 * @param original the database to copy, to which nothing is connected
 */
export async function freshDatabase(
  server = inject('server'),
  original = templateUrl(server),
): Promise<TestDatabase> {
  const template = new URL(original).pathname.slice(1);
  const copy = FILE_COPY[server] ?? '';
  const url = await createDatabase('test', server, `template ${template}${copy}`);
  const database = await connectDatabase(url, 'klinekeep tests', { connections: 4 });
  onTestFinished(() => database.close());
  return { ...database, url };
}

/** Creates an empty database, dropped when the test ends. */
export async function emptyDatabase(
  server = inject('server'),
  options = `encoding 'UTF8'`,
): Promise<string> {
  return await createDatabase('empty', server, `template template0 ${options}`);
}

async function createDatabase(prefix: string, server: string, options: string): Promise<string> {
  const name = `${prefix}_${randomBytes(6).toString('hex')}`;
  await asAdmin((admin) => admin.unsafe(`create database "${name}" ${options}`), server);
  const url = new URL(templateUrl(server));
  url.pathname = `/${name}`;
  onTestFinished(() => dropDatabase(url.href, server));
  return url.href;
}

/** A third faster than through the WAL, which is the default where there is a choice. */
const FILE_COPY: Record<string, string> = Object.fromEntries(
  ['15', '16', '17', '18'].map((server) => [server, ' strategy file_copy']),
);

function templateUrl(server: string): string {
  const url = inject('templateUrls')[server];
  if (url === undefined) throw new Error(`The tests have no server ${server}.`);
  return url;
}

/**
 * Drops a test's database and ends its sessions.
 * @param patienceMs the session of a killed script ends with its current statement
 * @throws when there are sessions after that time
 */
export async function dropDatabase(
  url: string,
  server = inject('server'),
  patienceMs = 15_000,
): Promise<void> {
  const name = new URL(url).pathname.slice(1);
  await asAdmin(async (admin) => {
    const sessions = await waitUntilEmpty(
      () => admin`
        select application_name, state, query from pg_stat_activity
        where datname = ${name} and backend_type = 'client backend'`,
      patienceMs,
    );
    // With FORCE, an ordinary role would be refused when autovacuum is at work in the database.
    const force = sessions.length > 0 ? 'with (force)' : '';
    await admin.unsafe(`drop database if exists "${name}" ${force}`);
    if (sessions.length > 0)
      throw new Error(`The test leaves sessions in its database: ${JSON.stringify(sessions)}`);
  }, server);
}

/** One connection for each server until the test file ends, because connecting takes as long as a query. */
const admins = new Map<string, postgres.Sql>();

/** Runs something in the database postgres as the role that creates databases. */
export async function asAdmin(
  work: (admin: postgres.Sql) => Promise<unknown>,
  server = inject('server'),
): Promise<void> {
  let admin = admins.get(server);
  if (!admin) {
    const url = new URL(process.env.KLINEKEEP_TEST_URL ?? templateUrl(server));
    if (!process.env.KLINEKEEP_TEST_URL) url.pathname = '/postgres';
    admin = postgres(url.href, { max: 1, onnotice: () => {} });
    admins.set(server, admin);
  }
  await work(admin);
}

closers.push(async () => {
  await Promise.all([...admins.values()].map((admin) => admin.end()));
  admins.clear();
});
