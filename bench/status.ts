/**
 * 500 instruments with a year of 1h and of 1d each, three quarters of it archived: how long the whole
 * scripts take, `status` over the 1,000 series and `report` over 500 symbols and 365 days, and how large
 * the page is. Beside them the same scripts on one instrument, which is what starting costs.
 *
 *     just bench status             five rounds
 *     BENCH_ROUNDS=3 just bench status
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type postgres from 'postgres';
import { formatBytes, formatCount, formatTable, PROJECT_DIR } from '../lib/base/mod.ts';
import { startEmbedded, stopEmbedded } from '../lib/embedded/mod.ts';
import { connectDatabase, migrate } from '../lib/postgres/mod.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const INSTRUMENTS = 500;
const DAYS = 365;
const HOT_DAYS = 90;

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-bench-'));
  await chmod(folder, 0o711);
  const home = join(folder, 'home');
  const url = await startEmbedded(home);
  const { sql, close } = await connectDatabase(url, 'klinekeep bench');
  try {
    await migrate(sql);
    await fill(sql);
    const page = join(folder, 'report.html');
    const one = ['--symbol', 'S001/USDT'];
    const calls: [string, string[]][] = [
      ['status, 1,000 series', ['status', '--json']],
      ['status, one instrument', ['status', '--json', ...one]],
      ['report, one instrument', ['report', '--interval', '1h', '--output', page, ...one]],
      ['report, 500 x 365 days', ['report', '--interval', '1h', '--output', page]],
    ];
    const rows: string[][] = [];
    for (const [name, [script, ...words]] of calls) {
      const seconds: number[] = [];
      for (let round = 0; round < ROUNDS; round++)
        seconds.push(await time(url, script as string, words));
      const size = script === 'report' ? formatBytes((await stat(page)).size) : '';
      const range = `${Math.min(...seconds).toFixed(2)} to ${Math.max(...seconds).toFixed(2)}`;
      rows.push([name, median(seconds).toFixed(2), range, size]);
    }
    const [found] = await sql`select count(*)::int as candles from all_klines`;
    process.stdout.write(
      `${formatTable(['what', 'seconds', 'range', 'size'], rows)}\n\n` +
        `${formatCount(found?.candles)} candles; whole processes, medians of ${ROUNDS} rounds\n`,
    );
  } finally {
    await close();
    await stopEmbedded(home);
    await rm(folder, { recursive: true });
  }
}

async function fill(sql: postgres.Sql): Promise<void> {
  for (let id = 1; id <= INSTRUMENTS; id++) {
    const base = `S${String(id).padStart(3, '0')}`;
    const table = `${base.toLowerCase()}_usdt`;
    await sql.unsafe(`
      insert into instruments (market, symbol, exchange_symbol, base, quote, status, table_name)
      values ('spot', '${base}/USDT', '${base}USDT', '${base}', 'USDT', 'active', '${table}');
      create table ${table} partition of klines for values in (${id});
      create table ${table}_archive partition of klines_archive for values in (${id});`);
    for (const [interval, step] of [
      ['1h', '1 hour'],
      ['1d', '1 day'],
    ]) {
      await sql.unsafe(`
        with candles as (
          select
            ${id}, '${interval}', at, at + '${step}'::interval - interval '1 ms' as close_time, 28000 + random() * 9,
            28020 + random() * 9, 27980 + random() * 9, 28000 + random() * 9, random() * 100,
            random() * 3000000, 900, random() * 50, random() * 1500000
          from generate_series(date_trunc('day', now()) - interval '${DAYS} days', now(), '${step}') as at
        ),
        old as (
          insert into ${table}_archive select * from candles where at < now() - interval '${HOT_DAYS} days'
        )
        insert into ${table}
        select * from candles where at >= now() - interval '${HOT_DAYS} days' and close_time < now()`);
    }
  }
  await sql`vacuum (analyze)`;
}

/** @returns seconds that a script took as a process */
async function time(url: string, name: string, words: readonly string[]): Promise<number> {
  const loader = resolve(PROJECT_DIR, 'node_modules/tsx/dist/loader.mjs');
  const script = resolve(PROJECT_DIR, 'scripts', `${name}.ts`);
  const startedMs = performance.now();
  const child = spawn(process.execPath, ['--import', loader, script, ...words], {
    env: { ...process.env, DATABASE_URL: url },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${name} ended with ${code}`);
  return (performance.now() - startedMs) / 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

main();
