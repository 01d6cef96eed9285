/**
 * A year of 1m from bulk files, as a whole process, beside `psql \copy` of the same rows into
 * the same table, and beside the way it is often done: one SELECT a row, INSERTs of 500.
 *
 *     just bench bulk       five rounds
 *     BENCH_ROUNDS=3 just bench bulk
 *
 * Only ratios of one run mean anything; they are taken round by round, and their median is shown.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import postgres from 'postgres';
import { formatTable, PROJECT_DIR } from '../lib/base/mod.ts';
import { startEmbedded, stopEmbedded } from '../lib/embedded/mod.ts';
import { COPY_COLUMNS } from '../lib/store/mod.ts';
import { publish } from '../tests/support/fake-binance/bulk.ts';
import { type FakeBinance, startFakeBinance } from '../tests/support/fake-binance/server.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const NAIVE_ROWS = 4_000;
const FROM_MS = Date.UTC(2023, 0, 1);
const TO_MS = Date.UTC(2024, 0, 1);
const ROWS = (TO_MS - FROM_MS) / 60_000;

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-bench-'));
  await chmod(folder, 0o711);
  const home = join(folder, 'home');
  const fake = await startFakeBinance({ nowMs: Date.UTC(2024, 5, 1) });
  const url = await startEmbedded(home);
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    for (let month = 1; month <= 12; month++) {
      await publish(fake, `2023-${String(month).padStart(2, '0')}`, { interval: '1m' });
    }
    const csv = join(folder, 'candles.csv');
    await load(fake, url);
    await writeCsv(sql, fake, csv);
    const naiveMs = await naive(sql, fake);

    const rounds: { ours: number; psql: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await empty(sql);
      const ours = await load(fake, url);
      const [stored] = await sql`select count(*)::int as rows from btc_usdt`;
      if (stored?.rows !== ROWS) throw new Error(`${stored?.rows} rows are stored, wanted ${ROWS}`);
      await empty(sql);
      const psql = await time('psql', [
        '-qc',
        `\\copy btc_usdt ${COPY_COLUMNS.replaceAll(/\s+/g, ' ')} from '${csv}' csv`,
        url,
      ]);
      rounds.push({ ours, psql });
    }
    report(rounds, naiveMs);
  } finally {
    await sql.end();
    await fake.close();
    await stopEmbedded(home);
    await rm(folder, { recursive: true });
  }
}

/** The whole script, started the way the Justfile does. @returns ms */
async function load(fake: FakeBinance, url: string): Promise<number> {
  const script = resolve(PROJECT_DIR, 'scripts/fetch-history.ts');
  const words = [
    'BTC/USDT',
    '--since',
    '2023-01-01',
    '--until',
    '2024-01-01',
    '--source',
    'bulk',
    '--quiet',
  ];
  const loader = resolve(PROJECT_DIR, 'node_modules/tsx/dist/loader.mjs');
  return await time('node', ['--import', loader, script, ...words], {
    ...fake.env,
    DATABASE_URL: url,
  });
}

async function time(
  command: string,
  words: string[],
  env: Record<string, string> = {},
): Promise<number> {
  const startedMs = performance.now();
  const child = spawn(command, words, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
  return performance.now() - startedMs;
}

async function empty(sql: postgres.Sql): Promise<void> {
  await sql`truncate btc_usdt`;
  await sql`delete from loaded_files`;
  await sql`checkpoint`;
}

/** The same rows as they end up in the table. */
async function writeCsv(sql: postgres.Sql, fake: FakeBinance, file: string): Promise<void> {
  const [instrument] = await sql`select id from instruments where symbol = 'BTC/USDT'`;
  const rows = await fake.candles('spot', 'BTCUSDT', '1m', FROM_MS, TO_MS - 1);
  const iso = (timeMs: number) => new Date(timeMs).toISOString();
  const lines = rows.map((row) =>
    [
      instrument?.id,
      '1m',
      iso(row[0]),
      iso(row[6]),
      ...row.slice(1, 6),
      row[7],
      row[8],
      row[9],
      row[10],
    ].join(','),
  );
  await writeFile(file, `${lines.join('\n')}\n`);
}

/** @returns ms for the whole year, from a slice of it */
async function naive(sql: postgres.Sql, fake: FakeBinance): Promise<number> {
  await empty(sql);
  const [instrument] = await sql`select id from instruments where symbol = 'BTC/USDT'`;
  const rows = await fake.candles('spot', 'BTCUSDT', '1m', FROM_MS, TO_MS - 1, NAIVE_ROWS);
  const startedMs = performance.now();
  let batch: Record<string, unknown>[] = [];
  for (const [at, row] of rows.entries()) {
    const openTime = new Date(row[0]);
    const [found] = await sql`
      select 1 from klines where instrument_id = ${instrument?.id} and interval = '1m' and open_time = ${openTime}`;
    if (!found) {
      batch.push({
        instrument_id: instrument?.id,
        interval: '1m',
        open_time: openTime,
        close_time: new Date(row[6]),
        open_price: row[1],
        high_price: row[2],
        low_price: row[3],
        close_price: row[4],
        volume: row[5],
        quote_volume: row[7],
        trades_count: row[8],
        taker_buy_volume: row[9],
        taker_buy_quote_volume: row[10],
      });
    }
    if (batch.length === 500 || at === rows.length - 1) {
      await sql`insert into klines ${sql(batch)}`;
      batch = [];
    }
  }
  return ((performance.now() - startedMs) / NAIVE_ROWS) * ROWS;
}

function report(rounds: readonly { ours: number; psql: number }[], naiveMs: number): void {
  const seconds = (ms: number) => (ms / 1000).toFixed(2);
  const ours = median(rounds.map((round) => round.ours));
  const ratio = median(rounds.map((round) => round.ours / round.psql));
  const text = formatTable(
    ['way', 'seconds', 'candles/s', 'ratio'],
    [
      ['fetch-history, bulk files', seconds(ours), rate(ours), '1'],
      [
        'psql \\copy of the same rows',
        seconds(median(rounds.map((round) => round.psql))),
        rate(median(rounds.map((round) => round.psql))),
        `ours takes ${ratio.toFixed(2)} x`,
      ],
      [
        'SELECT a row, INSERT of 500',
        seconds(naiveMs),
        rate(naiveMs),
        `ours is ${(naiveMs / ours).toFixed(0)} x as fast`,
      ],
    ],
  );
  const spread = rounds.map((round) => (round.ours / round.psql).toFixed(2)).join(' ');
  process.stdout.write(
    `${text}\n\n${ROWS} candles, medians of ${rounds.length} rounds; ratios to psql: ${spread}\n`,
  );
}

const rate = (ms: number) => Math.round(ROWS / (ms / 1000)).toLocaleString('en-US');

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

main();
