import { expect } from 'vitest';
import type { Database } from '../../lib/postgres/connection.ts';
import { freshDatabase } from '../support/database.ts';
import { runScript } from '../support/script.ts';
import { expectReference, makeCandles } from '../support/tiers.ts';

export const FROM = '2024-01-01';
export const ROWS = 3_000;

/** Stores 1m candles of BTC/USDT from 2024-01-01 on, which are old enough for `archive`. */
export async function setUpMinutes(rows = ROWS) {
  const database = await freshDatabase();
  await makeCandles(database, { rows, from: FROM });
  return { database, sql: database.sql, ...scriptsOn(database.url) };
}

/** The scripts that move all of these candles. */
export function scriptsOn(url: string) {
  const env = { DATABASE_URL: url };
  return {
    archive: (...words: string[]) =>
      runScript('archive', ['10', '--as-of', '2024-03-01', ...words], env),
    restore: (...words: string[]) =>
      runScript('restore', ['BTC/USDT', '--from', FROM, '--to', '2024-03-01', ...words], env),
  };
}

export async function expectAllArchived(database: Database, rows = ROWS): Promise<void> {
  expect(await expectReference(database)).toEqual({ hot: 0, archive: rows });
}
