import { randomBytes } from 'node:crypto';
import type postgres from 'postgres';
import { afterAll, inject } from 'vitest';
import type { Interval } from '../../lib/market/intervals.ts';
import { asAdmin, freshDatabase } from '../support/database.ts';
import type { FakeBinance } from '../support/fake-binance/server.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

/** A finding as --json prints it. */
export interface JsonFinding {
  symbol: string;
  interval: string;
  check: string;
  severity: string;
  isPublished: boolean;
  count: number;
  examples: string[];
}

/** Candles of BTC/USDT to store, and the words with which `archive` moves the older ones. */
export interface StoreOptions {
  intervals: readonly Interval[];
  since: string;
  until: string;
  archive: readonly string[];
  /** The exchange's clock. */
  now: string;
}

/** Ten weeks of 1h candles, all but the last 30 days of them archived. */
export const HOURS: StoreOptions = {
  intervals: ['1h'],
  since: '2024-01-01',
  until: '2024-03-10',
  archive: ['30', '--as-of', '2024-03-10'],
  now: '2024-03-12',
};

/** Three days of 1m candles and their hours, the first day archived. */
export const MINUTES: StoreOptions = {
  intervals: ['1m', '1h'],
  since: '2024-01-17',
  until: '2024-01-20',
  archive: ['1', '--as-of', '2024-01-19'],
  now: '2024-02-12',
};

/**
 * Fills a database once for all tests of a file.
 * @returns gives a test a copy of the database, and an exchange of its own
 */
export function prepareStore(options: StoreOptions): () => ReturnType<typeof openStore> {
  let original: Promise<string> | undefined;
  afterAll(async () => {
    if (original) await dropDatabase(await original);
  });
  return async () => {
    const fake = await startFake(options);
    original ??= createOriginal().then(async (url) => {
      await fillStore(fake, url, options);
      return url;
    });
    return await openStore(fake, options, await original);
  };
}

/** An exchange that is closed when the test ends. */
export async function startFake({ now }: StoreOptions): Promise<FakeBinance> {
  const fake = await startExchange({ nowMs: Date.parse(now) });
  return fake;
}

async function fillStore(fake: FakeBinance, url: string, options: StoreOptions): Promise<void> {
  const env = { DATABASE_URL: url, ...fake.env };
  for (const interval of options.intervals) {
    const range = ['--since', options.since, '--until', options.until];
    await runScript('fetch-history', ['BTC/USDT', '--interval', interval, ...range], env);
  }
  await runScript('archive', options.archive, env);
}

/** @param original the database to copy; default: a new one is filled */
export async function openStore(fake: FakeBinance, options: StoreOptions, original?: string) {
  const database = await freshDatabase(inject('server'), original);
  if (!original) await fillStore(fake, database.url, options);
  const { sql, url } = database;
  const env = { DATABASE_URL: url, ...fake.env };
  const run = (name: string, ...words: string[]) => runScript(name, words, env);

  /** `found`: each finding as `1h missing 3`. */
  const verify = async (...words: string[]) => {
    const to = words.includes('--to') ? [] : ['--to', options.until];
    const { exitCode, stdout } = await run('verify-integrity', '--json', ...to, ...words);
    const json = JSON.parse(stdout);
    // What was repaired stays in the report.
    const findings: JsonFinding[] = json.findings.filter(
      ({ check }: JsonFinding) => check !== 'corrected',
    );
    const found = findings.map(
      ({ interval, check, isPublished, count }) =>
        `${interval} ${check}${isPublished ? ' published' : ''} ${count}`,
    );
    const examples = findings.flatMap((finding) => finding.examples);
    return { exitCode, found: found.sort(), examples, findings, repaired: json.repaired };
  };

  const reference = new Map<Interval, string[]>();
  for (const interval of options.intervals) {
    const [fromMs, toMs] = [Date.parse(options.since), Date.parse(options.until) - 1];
    const rows = await fake.candles('spot', 'BTCUSDT', interval, fromMs, toMs);
    reference.set(interval, expectedRows(rows, Number.POSITIVE_INFINITY));
  }
  /** Each candle, or the first `count`, is in one tier, none in both, and none has changed. */
  const expectComplete = async (count?: number) => {
    for (const [interval, rows] of reference) {
      const stored = await storedRows(sql, 'spot', 'BTC/USDT', interval);
      expectSameRows(stored.rows, rows.slice(0, count));
    }
  };
  const symbol = fake.symbols.find((each) => each.market === 'spot' && each.symbol === 'BTCUSDT')!;
  return { fake, symbol, database, sql, run, verify, expectComplete };
}

/** Makes the exchange answer without candles, of one interval or all. @returns ends that */
export function silence(fake: FakeBinance, interval?: Interval): () => void {
  const { candles } = fake;
  fake.candles = async (...asked) =>
    interval && asked[2] !== interval ? await candles.apply(fake, asked) : [];
  return () => {
    fake.candles = candles;
  };
}

/** Adds a second candle, off the grid, to the slot of each 1m candle that opens in a range. */
export async function doubleSlots(
  sql: postgres.Sql,
  tier: 'klines' | 'klines_archive',
  from: Date | string,
  to: Date | string,
): Promise<void> {
  await sql`
    insert into ${sql(tier)} (
      instrument_id, interval, open_time, close_time, open_price, high_price, low_price, close_price,
      volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
    )
    select instrument_id, interval, open_time + interval '14.789 s', close_time, open_price, high_price,
      low_price, close_price, volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
    from ${sql(tier)}
    where interval = '1m' and open_time >= ${from} and open_time < ${to}`;
}

/** A database that lives until the file's tests have ended. */
async function createOriginal(): Promise<string> {
  const url = new URL(inject('templateUrls')[inject('server')]!);
  const name = `original_${randomBytes(6).toString('hex')}`;
  const template = url.pathname.slice(1);
  await asAdmin((admin) => admin.unsafe(`create database "${name}" template ${template}`));
  url.pathname = `/${name}`;
  return url.href;
}

async function dropDatabase(url: string): Promise<void> {
  const name = new URL(url).pathname.slice(1);
  await asAdmin((admin) => admin.unsafe(`drop database if exists "${name}" with (force)`));
}
