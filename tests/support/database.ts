import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject, onTestFinished } from 'vitest';
import { connectDatabase, type Database } from '../../lib/postgres/connection.ts';
import { closers, waitUntilEmpty } from './leaks.ts';

export interface TestDatabase extends Database {
  url: string;
}

/**
 * A new database with the schema in it, gone when the test ends.
 * @param place on another server than the project's own, e.g. '14'
 */
export async function freshDatabase(place = inject('place')): Promise<TestDatabase> {
  const template = new URL(templateUrl(place)).pathname.slice(1);
  const url = await createDatabase('test', place, `template ${template}${FILE_COPY[place] ?? ''}`);
  const database = await connectDatabase(url, 'klinekeep tests', { connections: 4 });
  onTestFinished(() => database.close());
  return { ...database, url };
}

/** A new database without anything in it. */
export async function emptyDatabase(
  place = inject('place'),
  options = `encoding 'UTF8'`,
): Promise<string> {
  return await createDatabase('empty', place, `template template0 ${options}`);
}

async function createDatabase(prefix: string, place: string, options: string): Promise<string> {
  const name = `${prefix}_${randomBytes(6).toString('hex')}`;
  await asAdmin((admin) => admin.unsafe(`create database "${name}" ${options}`), place);
  const url = new URL(templateUrl(place));
  url.pathname = `/${name}`;
  onTestFinished(() => dropDatabase(url.href, place));
  return url.href;
}

/** A third quicker than through the WAL, where that is the default and can be chosen. */
const FILE_COPY: Record<string, string> = Object.fromEntries(
  ['15', '16', '17', '18'].map((place) => [place, ' strategy file_copy']),
);

function templateUrl(place: string): string {
  const url = inject('templateUrls')[place];
  if (url === undefined) throw new Error(`No server ${place} was started for the tests.`);
  return url;
}

/**
 * Drops a test's database and ends its sessions.
 * @throws when there were any
 */
export async function dropDatabase(url: string, place = inject('place')): Promise<void> {
  const name = new URL(url).pathname.slice(1);
  await asAdmin(async (admin) => {
    const sessions = await waitUntilEmpty(
      () => admin`
        select application_name, state, query from pg_stat_activity
        where datname = ${name} and backend_type = 'client backend'`,
    );
    await admin.unsafe(`drop database if exists "${name}" with (force)`);
    if (sessions.length > 0)
      throw new Error(`The test leaves sessions in its database: ${JSON.stringify(sessions)}`);
  }, place);
}

/** One connection for each server, until the test file ends: connecting takes as long as most queries. */
const admins = new Map<string, postgres.Sql>();

/** Runs something in the database postgres as the role that makes the databases. */
export async function asAdmin(
  work: (admin: postgres.Sql) => Promise<unknown>,
  place = inject('place'),
): Promise<void> {
  let admin = admins.get(place);
  if (!admin) {
    const url = new URL(process.env.KLINEKEEP_TEST_URL ?? templateUrl(place));
    if (!process.env.KLINEKEEP_TEST_URL) url.pathname = '/postgres';
    admin = postgres(url.href, { max: 1, onnotice: () => {} });
    admins.set(place, admin);
  }
  await work(admin);
}

closers.push(async () => {
  await Promise.all([...admins.values()].map((admin) => admin.end()));
  admins.clear();
});
