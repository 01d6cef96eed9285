import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { freshDatabase, type TestDatabase } from './database.ts';
import { type FakeBinance, type FakeOptions, startFakeBinance } from './fake-binance/server.ts';
import { runScript, type ScriptResult } from './script.ts';

export interface TestStore {
  fake: FakeBinance;
  database: TestDatabase;
  sql: TestDatabase['sql'];
  /** The environment variables that direct a script to both. */
  env: Record<string, string>;
  /** Runs a script within this process, such as `run('archive', '30', '--json')`. */
  run(script: string, ...words: string[]): Promise<ScriptResult>;
}

/** Starts a fake exchange and creates a database; both are removed when the test ends. */
export async function startStore(options: FakeOptions = {}): Promise<TestStore> {
  const fake = await startExchange(options);
  const database = await freshDatabase();
  const env = { DATABASE_URL: database.url, ...fake.env };
  const run = (script: string, ...words: string[]) => runScript(script, words, env);
  return { fake, database, sql: database.sql, env, run };
}

/** Starts a fake exchange that stops when the test ends. */
export async function startExchange(options: FakeOptions = {}): Promise<FakeBinance> {
  const fake = await startFakeBinance(options);
  onTestFinished(() => fake.close());
  return fake;
}

/** Makes a folder that is deleted when the test ends. @param name what its name begins with */
export async function makeFolder(name = 'test-'): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), name));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}
