/**
 * A year of 1m rolled up to 1h, one half of it archived: `candles()`, the plain GROUP BY over all_klines
 * through the same driver, and the whole script as a process.
 *
 *     just bench candles            seven rounds
 *     BENCH_ROUNDS=3 just bench candles
 *
 * Compare only ratios of one run: they are taken round by round, and the median is shown.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type postgres from 'postgres';
import { formatTable } from '../lib/base/mod.ts';
import { candles } from '../lib/read/mod.ts';
import {
  formatRatios,
  formatSeconds,
  median,
  print,
  readRounds,
  time,
  toCommand,
  withServer,
} from './support.ts';

const ROUNDS = readRounds(7);
const HOURS = 365 * 24;

type Way = 'ours' | 'plain' | 'script';

const PLAIN = `
  select
    date_trunc('hour', open_time) as open_time, max(close_time) as close_time,
    (array_agg(open_price order by open_time))[1] as open_price,
    max(high_price) as high_price, min(low_price) as low_price,
    (array_agg(close_price order by open_time desc))[1] as close_price,
    sum(volume) as volume, sum(quote_volume) as quote_volume, sum(trades_count) as trades_count,
    sum(taker_buy_volume) as taker_buy_volume, sum(taker_buy_quote_volume) as taker_buy_quote_volume
  from all_klines
  where instrument_id = 1 and interval = '1m' and open_time >= '2023-01-01' and open_time < '2024-01-01'
  group by 1
  order by 1`;

await withServer(async ({ url, sql }) => {
  await fill(sql);
  const rounds: Record<Way, number>[] = [];
  for (let round = -1; round < ROUNDS; round++) {
    const ours = await timeHours(() => readAll(sql));
    const plain = await timeHours(async () => (await sql.unsafe(PLAIN)).length);
    const script = await timeHours(() => runScript(url));
    // The first round warms up.
    if (round >= 0) rounds.push({ ours, plain, script });
  }
  report(rounds);
});

async function fill(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    insert into instruments (market, symbol, exchange_symbol, base, quote, status, table_name)
    values ('spot', 'BTC/USDT', 'BTCUSDT', 'BTC', 'USDT', 'active', 'btc_usdt');
    create table btc_usdt partition of klines for values in (1);
    create table btc_usdt_archive partition of klines_archive for values in (1);`);
  for (const [table, from, to] of [
    ['btc_usdt_archive', '2023-01-01', '2023-07-02'],
    ['btc_usdt', '2023-07-02', '2024-01-01'],
  ] as const) {
    await sql.unsafe(`
      insert into ${table}
      select 1, '1m', at, at + interval '59.999 s', 28000 + random() * 9, 28020 + random() * 9,
        27980 + random() * 9, 28000 + random() * 9, random() * 100, random() * 3000000, 900,
        random() * 50, random() * 1500000
      from generate_series('${from}'::timestamptz, '${to}'::timestamptz - interval '1 min', '1 min') as at`);
    await sql.unsafe(`vacuum analyze ${table}`);
  }
}

/** @returns ms @throws when the work has not read every hour */
async function timeHours(work: () => Promise<number>): Promise<number> {
  return await time(async () => {
    const count = await work();
    if (count !== HOURS) throw new Error(`Read ${count} candles, wanted ${HOURS}.`);
  });
}

async function readAll(sql: postgres.Sql): Promise<number> {
  let count = 0;
  for await (const _ of candles(sql, 'BTC/USDT', '1h', { from: '2023-01-01' })) count += 1;
  return count;
}

/** @returns how many candles the script has written */
async function runScript(url: string): Promise<number> {
  const words = ['BTC/USDT', '1h', '--from', '2023-01-01', '--format', 'ndjson'];
  const child = spawn(...toCommand('scripts/candles.ts', ...words), {
    env: { ...process.env, DATABASE_URL: url },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let lines = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    for (const byte of chunk) if (byte === 10) lines += 1;
  });
  await once(child, 'close');
  return lines;
}

function report(rounds: readonly Record<Way, number>[]): void {
  const seconds = (way: Way) => formatSeconds(median(rounds.map((round) => round[way])));
  const ratios = rounds.map((round) => round.ours / round.plain);
  const table = formatTable(
    ['way', 'seconds', 'ratio'],
    [
      ['candles(), query and read', seconds('ours'), median(ratios).toFixed(2)],
      ['plain GROUP BY, same driver', seconds('plain'), '1'],
      ['the script as a process, ndjson', seconds('script'), ''],
    ],
  );
  print(
    `${table}\n\n525600 to ${HOURS} candles, medians of ${ROUNDS} rounds; ratios: ${formatRatios(ratios)}`,
  );
}
