/**
 * A year of 1m rolled up to 1h, hot and archived half and half: `candles()` beside the bare GROUP BY
 * over all_klines through the same driver, and the whole script as a process.
 *
 *     just bench candles            seven rounds
 *     BENCH_ROUNDS=3 just bench candles
 *
 * Only ratios of one run mean anything; they are taken round by round, and their median is shown.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type postgres from 'postgres';
import { formatTable, PROJECT_DIR } from '../lib/base/mod.ts';
import { startEmbedded, stopEmbedded } from '../lib/embedded/mod.ts';
import { connectDatabase, migrate } from '../lib/postgres/mod.ts';
import { candles } from '../lib/read/mod.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);
const HOURS = 365 * 24;

const BARE = `
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

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-bench-'));
  await chmod(folder, 0o711);
  const home = join(folder, 'home');
  const url = await startEmbedded(home);
  const { sql, close } = await connectDatabase(url, 'klinekeep bench');
  try {
    await migrate(sql);
    await fill(sql);
    const rounds: Record<'ours' | 'bare' | 'script', number>[] = [];
    for (let round = -1; round < ROUNDS; round++) {
      const ours = await time(async () => {
        let count = 0;
        for await (const _ of candles(sql, 'BTC/USDT', '1h', { from: '2023-01-01' })) count += 1;
        return count;
      });
      const bare = await time(async () => (await sql.unsafe(BARE)).length);
      const script = await time(() => runScript(url));
      // The first one warms up.
      if (round >= 0) rounds.push({ ours, bare, script });
    }
    report(rounds);
  } finally {
    await close();
    await stopEmbedded(home);
    await rm(folder, { recursive: true });
  }
}

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

async function time(work: () => Promise<number>): Promise<number> {
  const startedMs = performance.now();
  const count = await work();
  if (count !== HOURS) throw new Error(`${count} candles came, wanted ${HOURS}`);
  return performance.now() - startedMs;
}

/** @returns how many candles it wrote */
async function runScript(url: string): Promise<number> {
  const loader = resolve(PROJECT_DIR, 'node_modules/tsx/dist/loader.mjs');
  const script = resolve(PROJECT_DIR, 'scripts/candles.ts');
  const words = ['BTC/USDT', '1h', '--from', '2023-01-01', '--format', 'ndjson'];
  const child = spawn(process.execPath, ['--import', loader, script, ...words], {
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

function report(rounds: readonly Record<'ours' | 'bare' | 'script', number>[]): void {
  const seconds = (name: 'ours' | 'bare' | 'script') =>
    (median(rounds.map((round) => round[name])) / 1000).toFixed(2);
  const ratios = rounds.map((round) => round.ours / round.bare);
  const table = formatTable(
    ['way', 'seconds', 'ratio'],
    [
      ['candles(), query and read', seconds('ours'), median(ratios).toFixed(2)],
      ['bare GROUP BY, same driver', seconds('bare'), '1'],
      ['the script as a process, ndjson', seconds('script'), ''],
    ],
  );
  const spread = ratios.map((ratio) => ratio.toFixed(2)).join(' ');
  process.stdout.write(
    `${table}\n\n525600 to ${HOURS} candles, medians of ${ROUNDS} rounds; ratios: ${spread}\n`,
  );
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

main();
