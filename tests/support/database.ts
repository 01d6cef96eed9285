import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject, onTestFinished } from 'vitest';
import { connectDatabase, type Database } from '../../lib/db.ts';

export interface TestDatabase extends Database {
  url: string;
}

/** A new database with the schema in it, gone when the test ends. */
export async function freshDatabase(): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  const url = await createDatabase(name, 'template_klines');
  const database = await connectDatabase(url, 'klinekeep tests');
  onTestFinished(async () => {
    await database.close();
    await asAdmin((admin) => admin.unsafe(`drop database "${name}" with (force)`));
  });
  return { ...database, url };
}

/** A new database without anything in it. */
export async function emptyDatabase(): Promise<string> {
  const name = `empty_${randomBytes(6).toString('hex')}`;
  onTestFinished(() => asAdmin((admin) => admin.unsafe(`drop database "${name}" with (force)`)));
  return await createDatabase(name, 'template0');
}

async function createDatabase(name: string, template: string): Promise<string> {
  await asAdmin((admin) => admin.unsafe(`create database "${name}" template ${template}`));
  const url = new URL(inject('templateUrl'));
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs something as superuser, in the database postgres. */
export async function asAdmin(work: (admin: postgres.Sql) => Promise<unknown>): Promise<void> {
  const url = new URL(inject('templateUrl'));
  url.pathname = '/postgres';
  const admin = postgres(url.href, { max: 1, onnotice: () => {} });
  try {
    await work(admin);
  } finally {
    await admin.end();
  }
}
