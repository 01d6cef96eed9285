/**
 * 500 instruments with a year of 1h and of 1d each, three quarters of it archived: how long the whole
 * scripts take, `status` over the 1,000 series and `report` over 500 symbols and 365 days, and the size of
 * the page. For comparison the same scripts on one instrument: that is the time to start.
 *
 *     just bench status             five rounds
 *     BENCH_ROUNDS=3 just bench status
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type postgres from 'postgres';
import { formatBytes, formatCount, formatTable } from '../lib/base/mod.ts';
import {
  formatSeconds,
  median,
  print,
  readRounds,
  runProgram,
  toCommand,
  withServer,
} from './support.ts';

const ROUNDS = readRounds(5);
const INSTRUMENTS = 500;
const DAYS = 365;
const HOT_DAYS = 90;

await withServer(async ({ folder, url, sql }) => {
  await fill(sql);
  const page = join(folder, 'report.html');
  const one = ['--symbol', 'S001/USDT'];
  const report = ['scripts/report.ts', '--quiet', '--interval', '1h', '--output', page] as const;
  const calls = [
    ['status, 1,000 series', toCommand('scripts/status.ts', '--json'), false],
    ['status, one instrument', toCommand('scripts/status.ts', '--json', ...one), false],
    ['report, one instrument', toCommand(...report, ...one), true],
    ['report, 500 x 365 days', toCommand(...report), true],
  ] as const;
  const rows: string[][] = [];
  for (const [name, command, isReport] of calls) {
    const took: number[] = [];
    for (let round = 0; round < ROUNDS; round++)
      took.push(await runProgram(command, { DATABASE_URL: url }));
    const range = `${formatSeconds(Math.min(...took))} to ${formatSeconds(Math.max(...took))}`;
    const size = isReport ? formatBytes((await stat(page)).size) : '';
    rows.push([name, formatSeconds(median(took)), range, size]);
  }
  const [found] = await sql`select count(*)::int as candles from all_klines`;
  print(formatTable(['what', 'seconds', 'range', 'size'], rows));
  print(`\n${formatCount(found?.candles)} candles; whole processes, medians of ${ROUNDS} rounds`);
});

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
