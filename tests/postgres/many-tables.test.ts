import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { Instrument } from '../../lib/market/instrument.ts';
import { connectDatabase } from '../../lib/postgres/connection.ts';
import { runSql } from '../../lib/postgres/sql-file.ts';
import { eachInstrument } from '../../lib/store/each-instrument.ts';
import { listInstruments } from '../../lib/store/instruments.ts';
import { type FakeBinance, startFakeBinance } from '../support/fake-binance/server.ts';
import { defaultSymbols } from '../support/fake-binance/symbols.ts';
import { type OwnServer, startOwnServer } from '../support/own-server.ts';
import { runScript } from '../support/script.ts';

/** So many that the tables of both tiers and their indexes do not fit into the lock table. */
const INSTRUMENTS = 250;
/** How many of them have candles; the tables of the others are empty. */
const TRADED = 8;
/** The smallest lock table that PostgreSQL can have with so many connections. */
const SMALL_LOCK_TABLE = {
  max_locks_per_transaction: 10,
  max_connections: 25,
  max_wal_senders: 0,
  max_worker_processes: 1,
  autovacuum_worker_slots: 1,
  autovacuum_max_workers: 1,
};
const OUT_OF_SHARED_MEMORY = '53200';

const PAGE = join(tmpdir(), `klinekeep-many-tables-${process.pid}.html`);

let server: OwnServer;
let exchange: FakeBinance;
let sql: postgres.Sql;

const run = (name: string, ...words: string[]) =>
  runScript(name, words, { DATABASE_URL: server.url, ...exchange.env });

beforeAll(async () => {
  server = await startOwnServer(SMALL_LOCK_TABLE);
  exchange = await startFakeBinance({ symbols: defaultSymbols() });
  sql = connect();
  for (const [name, ...words] of [
    ['sync-instruments', '--market', 'spot'],
    ['update-klines', '--interval', '1d', '--limit', '9', '--concurrency', '4'],
    ['archive', '5'],
  ] as const) {
    expect(await run(name, ...words)).toMatchObject({ exitCode: EXIT.done });
  }
  await makeEmptyTables();
}, 120_000);

afterAll(async () => {
  await sql.end();
  await exchange.close();
  await server.stop();
  await rm(PAGE, { force: true });
});

/** For delisted instruments, so that no verb spends time on them. */
async function makeEmptyTables(): Promise<void> {
  const rows = Array.from({ length: INSTRUMENTS - TRADED }, (_, n) => ({
    ...{ market: 'spot', symbol: `OLD${n}/USDT`, exchange_symbol: `OLD${n}USDT`, base: `OLD${n}` },
    ...{ quote: 'USDT', status: 'delisted', ended_at: new Date(), table_name: `old${n}_usdt` },
  }));
  const made = await sql`insert into instruments ${sql(rows)} returning id, table_name`;
  for (const { id, table_name: hot } of made) {
    const values = { instrument_id: id, hot, archive: `${hot}_archive` };
    await runSql(sql, ['store/create_table.sql', 'archive/create_archive_table.sql'], values);
  }
}

function connect(): postgres.Sql {
  return postgres(server.url, { max: 1, prepare: false, onnotice: () => {} });
}

test('all_klines: fits into the lock table if read by instrument_id', async () => {
  const [tables] = await sql`
    select count(*)::int as count from pg_inherits
    where inhparent in ('klines'::regclass, 'klines_archive'::regclass)`;
  expect(tables?.count).toBe(2 * INSTRUMENTS);
  const bySymbol = sql`select count(*) from all_klines where symbol = 'BTC/USDT'`;
  await expect(bySymbol).rejects.toMatchObject({ code: OUT_OF_SHARED_MEMORY });
  const locks = await sql.begin(async (tx) => {
    const [byId] = await tx`
      select count(*)::int as candles from all_klines where instrument_id = instrument_id('BTC/USDT')`;
    expect(byId?.candles).toBe(9);
    return await tx`select from pg_locks where pid = pg_backend_pid() and locktype = 'relation'`;
  });
  expect(locks.length).toBeLessThan(20);
  await expect(sql`select instrument_id('NIX/USDT')`).rejects.toThrow('Not registered: NIX/USDT');
});

test.each(
  [
    ['sync-instruments'],
    ['update-klines', '--concurrency', '4'],
    ['update-klines', '--concurrency', '4', '--limit', '3', '--force'],
    ['fetch-history', 'BTC/USDT', '--interval', '1d', '--since', '12d', '--source', 'rest'],
    ['archive', '3', '--dry-run'],
    ['archive', '3'],
    ['archive-log'],
    ['gaps'],
    ['status'],
    ['report', '--output', PAGE],
    ['metrics'],
    ['candles', 'BTC/USDT', '1w'],
    ['verify-integrity'],
    ['verify-integrity', '--deep', '--compare', '1', '--repair'],
    ['restore', 'BTC/USDT,ETH/USDT', '--from', '12d', '--to', '1d'],
  ].map((words) => [words.join(' '), words] as const),
)('%s: works with more tables than the lock table can lock', async (_, [name = '', ...words]) => {
  expect(await run(name, ...words)).toMatchObject({ exitCode: EXIT.done });
});

/** Takes locks until there is no room for another one, and keeps them until its session ends. */
async function fillLockTable(): Promise<postgres.Sql> {
  const hog = connect();
  onTestFinished(() => hog.end());
  const all = hog`select pg_advisory_lock(number) from generate_series(1, 1000000) as number`;
  await expect(all).rejects.toMatchObject({ code: OUT_OF_SHARED_MEMORY });
  return hog;
}

test.each([['update-klines', '--symbol', 'BTC/USDT', '--force'], ['status']])(
  '%s: ends with 78 and the setting when the lock table is full',
  async (name, ...words) => {
    await fillLockTable();
    const result = await run(name, ...words);
    expect(result).toMatchObject({ exitCode: EXIT.config });
    expect(result.stderr).toMatch(
      /PostgreSQL's lock table is full: max_locks_per_transaction is too small: out of shared memory\n +Set max_locks_per_transaction/,
    );
  },
);

test('eachInstrument(): retries when the lock table has room again', async () => {
  const database = await connectDatabase(server.url, 'klinekeep tests');
  onTestFinished(() => database.close());
  const [instrument] = await listInstruments(database.sql);
  let tries = 0;
  const [result] = await eachInstrument(
    database,
    [instrument as Instrument],
    { concurrency: 1, signal: new AbortController().signal },
    async ({ session }) => {
      tries += 1;
      if (tries > 1) return;
      const hog = await fillLockTable();
      // It fails for want of a lock, and the next try finds room again.
      await session`select pg_advisory_xact_lock(1, 2)`.finally(() => hog.end());
    },
  );
  expect({ state: result?.state, tries }).toEqual({ state: 'done', tries: 2 });
});
