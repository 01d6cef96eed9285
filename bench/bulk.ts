/**
 * A year of 1m from bulk files, as a whole process; `psql \copy` of the same rows into the same table; and
 * the naive way, with a SELECT per row and INSERTs of 500.
 *
 *     just bench bulk       five rounds
 *     BENCH_ROUNDS=3 just bench bulk
 *
 * Compare only ratios of one run: they are taken round by round, and the median is shown.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type postgres from 'postgres';
import { formatCount, formatTable } from '../lib/base/mod.ts';
import { COPY_COLUMNS } from '../lib/store/mod.ts';
import { publish } from '../tests/support/fake-binance/bulk.ts';
import { type FakeBinance, startFakeBinance } from '../tests/support/fake-binance/server.ts';
import {
  formatRatios,
  formatSeconds,
  median,
  print,
  readRounds,
  runProgram,
  time,
  toCommand,
  withServer,
} from './support.ts';

const ROUNDS = readRounds(5);
const NAIVE_ROWS = 4_000;
const FROM_MS = Date.UTC(2023, 0, 1);
const TO_MS = Date.UTC(2024, 0, 1);
const ROWS = (TO_MS - FROM_MS) / 60_000;

await withServer(async ({ folder, url, sql }) => {
  const fake = await startFakeBinance({ nowMs: Date.UTC(2024, 5, 1) });
  try {
    for (let month = 1; month <= 12; month++)
      await publish(fake, `2023-${String(month).padStart(2, '0')}`, { interval: '1m' });
    const csv = join(folder, 'candles.csv');
    await load(fake, url);
    await writeCsv(sql, fake, csv);
    const naiveMs = await loadNaively(sql, fake);
    const columns = COPY_COLUMNS.replaceAll(/\s+/g, ' ');

    const rounds: { ours: number; psql: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await empty(sql);
      const ours = await load(fake, url);
      const [stored] = await sql`select count(*)::int as rows from btc_usdt`;
      if (stored?.rows !== ROWS) throw new Error(`Stored ${stored?.rows} rows, wanted ${ROWS}.`);
      await empty(sql);
      const copy = `\\copy btc_usdt ${columns} from '${csv}' csv`;
      rounds.push({ ours, psql: await runProgram(['psql', ['-qc', copy, url]]) });
    }
    report(rounds, naiveMs);
  } finally {
    await fake.close();
  }
});

/** Runs the whole script as the Justfile does. @returns ms */
async function load(fake: FakeBinance, url: string): Promise<number> {
  const range = ['--since', '2023-01-01', '--until', '2024-01-01'];
  const words = ['BTC/USDT', ...range, '--source', 'bulk', '--quiet'];
  const command = toCommand('scripts/fetch-history.ts', ...words);
  return await runProgram(command, { ...fake.env, DATABASE_URL: url });
}

async function empty(sql: postgres.Sql): Promise<void> {
  await sql`truncate btc_usdt`;
  await sql`delete from loaded_files`;
  await sql`checkpoint`;
}

/** Writes the rows as they are stored. */
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

/** @returns ms for the whole year, measured on a part of it */
async function loadNaively(sql: postgres.Sql, fake: FakeBinance): Promise<number> {
  await empty(sql);
  const [instrument] = await sql`select id from instruments where symbol = 'BTC/USDT'`;
  const rows = await fake.candles('spot', 'BTCUSDT', '1m', FROM_MS, TO_MS - 1, NAIVE_ROWS);
  const tookMs = await time(async () => {
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
  });
  return (tookMs / NAIVE_ROWS) * ROWS;
}

function report(rounds: readonly { ours: number; psql: number }[], naiveMs: number): void {
  const ours = median(rounds.map((round) => round.ours));
  const ratio = median(rounds.map((round) => round.ours / round.psql));
  const text = formatTable(
    ['way', 'seconds', 'candles/s', 'ratio'],
    [
      ['fetch, bulk files', formatSeconds(ours), rate(ours), '1'],
      [
        'psql \\copy of the same rows',
        formatSeconds(median(rounds.map((round) => round.psql))),
        rate(median(rounds.map((round) => round.psql))),
        `ours takes ${ratio.toFixed(2)} x`,
      ],
      [
        'SELECT per row, INSERT of 500',
        formatSeconds(naiveMs),
        rate(naiveMs),
        `ours is ${(naiveMs / ours).toFixed(0)} x as fast`,
      ],
    ],
  );
  const ratios = rounds.map((round) => round.ours / round.psql);
  print(
    `${text}\n\n${ROWS} candles, medians of ${rounds.length} rounds; ratios to psql: ${formatRatios(ratios)}`,
  );
}

function rate(ms: number): string {
  return formatCount(Math.round(ROWS / (ms / 1000)));
}
