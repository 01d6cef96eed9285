/**
 * Whatever the server's administrator has set for the database or for our role, candles come out the
 * same. Each round draws some settings, runs the main job, and compares the result with that of a
 * run with PostgreSQL's defaults. KLINEKEEP_ROUNDS sets how many rounds, KLINEKEEP_SEED repeats one.
 */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import postgres from 'postgres';
import { expect, inject, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { type FakeBinance, startFakeBinance } from '../support/fake-binance/server.ts';
import { runScript } from '../support/script.ts';

const ROUNDS = Number(process.env.KLINEKEEP_ROUNDS ?? 4);
const NOW_MS = Date.UTC(2024, 2, 20, 12, 30);

/** Values that an administrator may have chosen. The connection has to work with each of them. */
const SETTINGS: Record<string, readonly string[]> = {
  datestyle: ['German, DMY', 'SQL, DMY', 'SQL, MDY', 'Postgres, MDY', 'Postgres, DMY', 'ISO, YMD'],
  timezone: ['America/New_York', 'Asia/Kathmandu', 'Pacific/Apia', '-03'],
  intervalstyle: ['postgres_verbose', 'sql_standard', 'iso_8601'],
  extra_float_digits: ['0', '-15', '3'],
  standard_conforming_strings: ['off'],
  backslash_quote: ['on', 'off'],
  escape_string_warning: ['off'],
  quote_all_identifiers: ['on'],
  bytea_output: ['escape'],
  xmlbinary: ['hex'],
  array_nulls: ['off'],
  transform_null_equals: ['on'],
  client_encoding: ['LATIN1', 'SQL_ASCII', 'WIN1252'],
  client_min_messages: ['debug1', 'error'],
  log_min_duration_statement: ['0'],
  search_path: ['"$user", public, pg_catalog', 'public, elsewhere'],
  default_transaction_isolation: ['serializable', 'repeatable read'],
  default_transaction_deferrable: ['on'],
  default_transaction_read_only: ['off'],
  statement_timeout: ['1s', '20s'],
  lock_timeout: ['100ms'],
  idle_in_transaction_session_timeout: ['1s'],
  idle_session_timeout: ['1s'],
  row_security: ['off'],
  check_function_bodies: ['off'],
  synchronous_commit: ['off'],
  default_toast_compression: ['pglz'],
  gin_pending_list_limit: ['64kB'],
  work_mem: ['64kB'],
  jit: ['on', 'off'],
  jit_above_cost: ['0'],
  plan_cache_mode: ['force_generic_plan', 'force_custom_plan'],
  constraint_exclusion: ['off', 'on'],
  enable_partition_pruning: ['off'],
  enable_indexscan: ['off'],
  enable_bitmapscan: ['off'],
  enable_seqscan: ['off'],
  enable_nestloop: ['off'],
  enable_hashjoin: ['off'],
  enable_sort: ['off'],
  enable_partitionwise_aggregate: ['on'],
  enable_partitionwise_join: ['on'],
  from_collapse_limit: ['1'],
  join_collapse_limit: ['1'],
  cursor_tuple_fraction: ['1'],
};

interface Setting {
  name: string;
  value: string;
  level: 'database' | 'role';
}

const anySetting: fc.Arbitrary<Setting> = fc
  .constantFrom(
    ...Object.entries(SETTINGS).flatMap(([name, all]) => all.map((value) => ({ name, value }))),
  )
  .chain((each) =>
    fc.constantFrom('database', 'role').map((level) => ({ ...each, level }) as Setting),
  );
const someSettings = fc.uniqueArray(anySetting, {
  minLength: 6,
  maxLength: 20,
  selector: ({ name }) => name,
});

interface Result {
  /** What scripts that failed wrote to stderr, with their exit codes. */
  errors: string[];
  /** What `candles` printed, and what is stored, line by line. */
  candles: string[];
}

async function runMainJob(exchange: FakeBinance, settings: readonly Setting[]): Promise<Result> {
  return await withDatabase(settings, async (url) => {
    const env = { DATABASE_URL: url, ...exchange.env };
    const result: Result = { errors: [], candles: [] };
    const run = async (name: string, ...words: string[]) => {
      const { exitCode, stdout, stderr } = await runScript(name, words, env);
      const call = [name, ...words].join(' ');
      if (exitCode !== EXIT.done)
        result.errors.push(`${call}: ${exitCode}, ${stderr.slice(0, 300)}`);
      return stdout;
    };
    for (const interval of ['1h', '1d'])
      await run('fetch-history', ...['BTC/USDT', '--interval', interval, '--since', '2024-02-25']);
    await run('update-klines', '--limit', '30', '--force');
    await run('archive', '10', '--as-of', '2024-03-20');
    await run('restore', 'BTC/USDT', '--from', '2024-03-02', '--to', '2024-03-05');
    await run('verify-integrity', '--deep', '--compare', '3');
    await run('status');
    for (const interval of ['1h', '4h', '1d', '1w']) {
      const csv = ['--from', '2024-02-26', '--format', 'csv'];
      const stdout = await run('candles', 'BTC/USDT', interval, ...csv);
      result.candles.push(...stdout.split('\n').map((line) => `${interval} ${line}`));
    }
    result.candles.push(...(await storedLines(url)));
    return result;
  });
}

/** How the result differs from that with the defaults; empty when it does not. */
function describeFaults(found: Result, wanted: Result): string[] {
  const at = wanted.candles.findIndex((line, index) => line !== found.candles[index]);
  if (at === -1 && found.candles.length === wanted.candles.length) return found.errors;
  return [...found.errors, `candles differ: ${found.candles[at]}, wanted ${wanted.candles[at]}`];
}

/** All candles with their tier, as text that no setting changes. */
async function storedLines(url: string): Promise<string[]> {
  const sql = postgres(url, { max: 1, prepare: false, onnotice: () => {} });
  try {
    await sql.unsafe(`
      reset all;
      set timezone = 'UTC'; set datestyle = 'ISO'; set statement_timeout = 0; set client_encoding = 'UTF8'`);
    const rows = await sql.unsafe(`
      select concat_ws(
        ' ', tier, symbol, interval, timestamp, extract(epoch from close_time), open_price, high_price,
        low_price, close_price, volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
      ) as line
      from all_klines order by symbol, interval, timestamp`);
    return rows.map(({ line }) => line);
  } finally {
    await sql.end();
  }
}

const templateUrl = (): string => inject('templateUrls')[inject('server')] as string;

/** A database and a role of their own with these settings; both are dropped afterwards. */
async function withDatabase<T>(
  settings: readonly Setting[],
  work: (url: string) => Promise<T>,
): Promise<T> {
  const name = `settings_${randomBytes(6).toString('hex')}`;
  const admin = postgres(templateUrl().replace(/[^/]*$/, 'postgres'), {
    max: 1,
    onnotice: () => {},
  });
  try {
    await admin.unsafe(`create role "${name}" login superuser password '${name}'`);
    await admin.unsafe(`create database "${name}" template template0 owner "${name}"`);
    for (const { name: setting, value, level } of settings) {
      const where =
        level === 'role' ? `role "${name}" in database "${name}"` : `database "${name}"`;
      // A search_path is a list of names, all else is one value.
      const given = setting === 'search_path' ? value : `'${value}'`;
      await admin.unsafe(`alter ${where} set ${setting} = ${given}`);
    }
    const url = new URL(templateUrl());
    Object.assign(url, { username: name, password: name, pathname: `/${name}` });
    return await work(url.href);
  } finally {
    await admin.unsafe(`drop database if exists "${name}" with (force)`);
    await admin.unsafe(`drop role if exists "${name}"`);
    await admin.end();
  }
}

async function startExchange(): Promise<FakeBinance> {
  return await startFakeBinance({ nowMs: NOW_MS });
}

test('the main job: gives the same result with any settings', async () => {
  const exchange = await startExchange();
  try {
    const wanted = await runMainJob(exchange, []);
    expect(wanted.errors).toEqual([]);
    expect(wanted.candles.length).toBeGreaterThan(1_000);
    const seed = Number(process.env.KLINEKEEP_SEED ?? Date.now() % 2 ** 31);
    console.info(`KLINEKEEP_SEED=${seed} repeats this`);
    await fc.assert(
      fc.asyncProperty(someSettings, async (settings) => {
        expect(describeFaults(await runMainJob(exchange, settings), wanted)).toEqual([]);
      }),
      { seed, numRuns: ROUNDS, endOnFailure: true },
    );
  } finally {
    await exchange.close();
  }
});

// Each setting alone, to name the one that is to blame: KLINEKEEP_EACH_SETTING=1
test.runIf(process.env.KLINEKEEP_EACH_SETTING)(
  'the main job: works with each setting',
  async () => {
    const exchange = await startExchange();
    const wanted = await runMainJob(exchange, []);
    const faults: string[] = [];
    for (const [name, all] of Object.entries(SETTINGS)) {
      for (const value of all) {
        const found = await runMainJob(exchange, [{ name, value, level: 'database' }]);
        if (JSON.stringify(found) === JSON.stringify(wanted)) continue;
        faults.push(`${name} = ${value}: ${found.errors.join('; ') || 'other candles'}`);
        console.info(faults.at(-1));
      }
    }
    await exchange.close();
    expect(faults).toEqual([]);
  },
  3_600_000,
);
