import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject, onTestFinished } from 'vitest';
import { connectDatabase, type Database } from '../../lib/postgres/connection.ts';

export interface TestDatabase extends Database {
  url: string;
}

/**
 * A new database with the schema in it, gone when the test ends.
 * @param place on another server than the project's own, e.g. '14'
 * @param original a database to copy, to which nothing is connected
 */
export async function freshDatabase(
  place = inject('place'),
  original = templateUrl(place),
): Promise<TestDatabase> {
  const template = new URL(original).pathname.slice(1);
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
  onTestFinished(() =>
    asAdmin((admin) => admin.unsafe(`drop database if exists "${name}" with (force)`), place),
  );
  const url = new URL(templateUrl(place));
  url.pathname = `/${name}`;
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

/** Runs something in the database postgres as the role that makes the databases. */
export async function asAdmin(
  work: (admin: postgres.Sql) => Promise<unknown>,
  place = inject('place'),
): Promise<void> {
  const url = new URL(process.env.KLINEKEEP_TEST_URL ?? templateUrl(place));
  if (!process.env.KLINEKEEP_TEST_URL) url.pathname = '/postgres';
  const admin = postgres(url.href, { max: 1, onnotice: () => {} });
  try {
    await work(admin);
  } finally {
    await admin.end();
  }
}
