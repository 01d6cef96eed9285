/**
 * How fast archive is, and how much it slows down a reader and a writer.
 *
 * Speed: the whole script moves a million 1m candles; psql moves the same batches as plain SQL, one
 * transaction with INSERT … SELECT and DELETE each. Both include the same VACUUM (ANALYZE).
 *
 * Latency: pgbench reads days from the range that moves, or writes candles, without a pause:
 * idle, beside a loop that keeps one core busy, during the plain batches, during archive, during
 * archive --gentle, and during one INSERT and DELETE of everything. A reader that sleeps between
 * its queries also pays for waking up, which this leaves out.
 *
 *     just bench archive               three rounds
 *     BENCH_ROUNDS=5 just bench archive
 *     BENCH_ONLY_SPEED=1 just bench archive    without the reader and the writer
 *
 * Needs psql and pgbench. Compare only ratios of one run: they are taken round by round, and the
 * median is shown.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { formatBytes, formatCount, formatTable } from '../lib/base/mod.ts';
import { renderSql } from '../lib/postgres/mod.ts';
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

const ROUNDS = readRounds(3);
const ROWS = 1_000_000;
const BATCH_ROWS = 10_000;
const FROM_MS = Date.UTC(2022, 0, 1);
const AS_OF = '2024-01-01';

/** Sums up a random day from both tiers on the server, so that the server is measured. */
const READ = `\\set day random(0, 689)
select count(*), sum(volume), max(high_price) from all_klines
where instrument_id = 1 and interval = '1m'
  and open_time >= '${new Date(FROM_MS).toISOString()}'::timestamptz + :day * interval '1 day'
  and open_time < '${new Date(FROM_MS).toISOString()}'::timestamptz + (:day + 1) * interval '1 day';
`;

const WRITE = `\\set n :n + 1
insert into klines select 2, '1m', t, t + interval '59.999 s', 1, 1, 1, 1, 1, 1, 1, 1, 1
from (select '2030-01-01 00:00Z'::timestamptz + :n * interval '1 min' as t) as at;
`;

interface Cost {
  ms: number;
  walBytes: number;
}

/** Milliseconds that single statements took. */
interface Latency {
  reads: number[];
  writes: number[];
}

await withServer(async ({ folder, url, sql }) => {
  await makeCandles(sql);
  const file = join(folder, 'batches.sql');
  await writeFile(file, plainBatches());

  const rounds: { ours: Cost; plain: Cost }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const run = (isOurs: boolean) => measure(sql, () => (isOurs ? archive(url) : plain(url, file)));
    // The order changes from round to round.
    const isOursFirst = round % 2 === 0;
    const [first, second] = [await run(isOursFirst), await run(!isOursFirst)];
    rounds.push(isOursFirst ? { ours: first, plain: second } : { ours: second, plain: first });
  }
  reportSpeed(rounds);
  if (process.env.BENCH_ONLY_SPEED) return;

  const big = join(folder, 'big.sql');
  await writeFile(big, plainBatches(ROWS));
  const during: [string, () => Promise<unknown>][] = [
    ['idle', () => sleep(5_000)],
    ['one busy core', () => burn(5_000)],
    ['plain SQL batches', () => plain(url, file)],
    ['archive', () => archive(url)],
    ['archive --gentle', () => archive(url, '--gentle')],
    ['one INSERT and DELETE', () => psql(url, '-f', big)],
  ];
  const latencies: Record<string, Latency[]> = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, work] of during) {
      // One after the other: on two cores they would slow each other down.
      await reset(sql);
      const reads = await beside(url, folder, READ, work);
      await reset(sql);
      const writes = await beside(url, folder, WRITE, work);
      latencies[name] = [...(latencies[name] ?? []), { reads, writes }];
    }
  }
  reportLatency(latencies);
});

/** Stores two instruments: the candles of one are archived, the other one is written meanwhile. */
async function makeCandles(sql: postgres.Sql): Promise<void> {
  for (const [id, base] of [
    [1, 'BTC'],
    [2, 'ETH'],
  ] as const) {
    const table = `${base.toLowerCase()}_usdt`;
    await sql`
      insert into instruments (market, symbol, exchange_symbol, base, quote, status, table_name)
      values ('spot', ${`${base}/USDT`}, ${`${base}USDT`}, ${base}, 'USDT', 'active', ${table})`;
    await sql.unsafe(renderSql('store/create_table.sql', { hot: table, instrument_id: id }));
  }
  await sql.unsafe(
    renderSql('archive/create_archive_table.sql', {
      hot: 'btc_usdt',
      archive: 'btc_usdt_archive',
      instrument_id: 1,
    }),
  );
  await sql`
    create table master as
    select
      1 as instrument_id, '1m'::text as interval, t as open_time, t + interval '59.999 s' as close_time,
      p.p1, p.p1 * 1.01 as p2, p.p1 * 0.99 as p3, p.p1 + 1 as p4, p.v1, p.p1 * p.v1 as v2,
      (random() * 1000)::int as trades, p.v1 / 2 as v3, p.p1 * p.v1 / 2 as v4, now() as ca, now() as ua
    from generate_series(0, ${ROWS - 1}) as n
    cross join lateral (select ${new Date(FROM_MS)}::timestamptz + n * interval '1 min' as t) as at
    cross join lateral (
      select (30000 + random() * 1000 + n * 0)::numeric(28, 8) as p1, (random() * 100)::numeric(28, 8) as v1
    ) as p`;
  await sql`insert into eth_usdt select 2, interval, open_time, close_time, p1, p2, p3, p4, v1, v2, trades, v3, v4, ca, ua
    from master where open_time < ${new Date(FROM_MS + 100_000 * 60_000)}`;
}

/** Puts every candle back into the main table, without dead rows. */
async function reset(sql: postgres.Sql): Promise<void> {
  await sql`truncate btc_usdt, btc_usdt_archive, archive_batches`;
  await sql`insert into btc_usdt select * from master`;
  await sql`delete from eth_usdt where open_time >= '2030-01-01'`;
  await sql`vacuum (analyze) btc_usdt, btc_usdt_archive, eth_usdt`;
  await sql`checkpoint`;
}

/** Runs the whole script as the Justfile does. It includes VACUUM. */
async function archive(url: string, ...words: string[]): Promise<void> {
  const command = toCommand('scripts/archive.ts', '1', '--as-of', AS_OF, '--quiet', ...words);
  await runProgram(command, { DATABASE_URL: url });
}

async function plain(url: string, file: string): Promise<void> {
  await psql(url, '-f', file, '-c', 'vacuum (analyze, truncate false) btc_usdt, btc_usdt_archive');
}

async function psql(url: string, ...words: string[]): Promise<void> {
  await runProgram(['psql', ['-qX', '-v', 'ON_ERROR_STOP=1', ...words, url]]);
}

/** Plain SQL with the same windows as archive, one transaction per batch. */
function plainBatches(batchRows = BATCH_ROWS): string {
  const iso = (row: number) => new Date(FROM_MS + row * 60_000).toISOString();
  let text = '';
  for (let at = 0; at < ROWS; at += batchRows) {
    const where = `where interval = '1m' and open_time >= '${iso(at)}' and open_time < '${iso(at + batchRows)}'`;
    text += `begin;\ninsert into btc_usdt_archive select * from btc_usdt ${where};\ndelete from btc_usdt ${where};\ncommit;\n`;
  }
  return text;
}

/** Keeps one core busy in another process. */
async function burn(ms: number): Promise<void> {
  const program = `for (const until = Date.now() + ${ms}; Date.now() < until; );`;
  await runProgram([process.execPath, ['-e', program]]);
}

async function measure(sql: postgres.Sql, work: () => Promise<void>): Promise<Cost> {
  await reset(sql);
  const lsn = async () => (await sql`select pg_current_wal_insert_lsn()::text as lsn`)[0]?.lsn;
  const before = await lsn();
  const ms = await time(work);
  const [wal] = await sql`select pg_wal_lsn_diff(${await lsn()}, ${before})::float8 as bytes`;
  const [moved] = await sql`
    select count(*)::int as rows, (select count(*)::int from btc_usdt) as left from btc_usdt_archive`;
  if (moved?.rows !== ROWS || moved.left !== 0) throw new Error(`${moved?.rows} rows were moved`);
  return { ms, walBytes: wal?.bytes };
}

/** Measures the transactions of one pgbench client during `work`, in milliseconds. */
async function beside(
  url: string,
  folder: string,
  script: string,
  work: () => Promise<unknown>,
): Promise<number[]> {
  const [file, log] = [join(folder, 'beside.sql'), join(folder, 'beside')];
  await writeFile(file, script);
  const words = ['-n', '-c', '1', '-T', '3600', '-D', 'n=0', '-f', file, '-l', '--log-prefix', log];
  const client = spawn('pgbench', [...words, url], { stdio: ['ignore', 'ignore', 'inherit'] });
  const exited = once(client, 'exit');
  await sleep(200);
  await work();
  client.kill();
  await exited;
  const lines = (await readFile(`${log}.${client.pid}`, 'utf8')).split('\n');
  // The last line may be incomplete: when killed, pgbench loses what it has not written yet.
  return lines.slice(0, -1).map((line) => Number(line.split(' ')[2]) / 1000);
}

function reportSpeed(rounds: readonly { ours: Cost; plain: Cost }[]): void {
  const line = (name: string, way: 'ours' | 'plain', ratio: string) => {
    const ms = median(rounds.map((round) => round[way].ms));
    const walBytes = median(rounds.map((round) => round[way].walBytes));
    const rate = formatCount(Math.round(ROWS / (ms / 1000)));
    return [name, formatSeconds(ms), rate, formatBytes(walBytes), ratio];
  };
  const ratios = rounds.map(({ ours, plain }) => ours.ms / plain.ms);
  const rows = [
    line('archive, the whole script', 'ours', `${median(ratios).toFixed(2)} x`),
    line('plain SQL batches by psql', 'plain', '1'),
  ];
  print(formatTable(['way', 'seconds', 'candles/s', 'WAL', 'ratio'], rows));
  print(
    `\n${formatCount(ROWS)} candles in batches of ${formatCount(BATCH_ROWS)}, VACUUM (ANALYZE) included in both, ` +
      `medians of ${rounds.length} rounds; ratios: ${formatRatios(ratios)}\n`,
  );
}

function reportLatency(latencies: Record<string, Latency[]>): void {
  const at = (rounds: readonly Latency[], what: keyof Latency, share: number) =>
    median(
      rounds.map((each) => {
        const sorted = each[what].toSorted((a, b) => a - b);
        return sorted[Math.floor(sorted.length * share)] as number;
      }),
    );
  const idle = at(latencies.idle as Latency[], 'reads', 0.99);
  const rows = Object.entries(latencies).map(([name, rounds]) => [
    name,
    ...(['reads', 'writes'] as const).flatMap((what) =>
      [0.5, 0.99, 0.999].map((share) => at(rounds, what, share).toFixed(1)),
    ),
    (at(rounds, 'reads', 0.99) / idle).toFixed(2),
  ]);
  const head = 'beside,read p50,p99,p99.9,write p50,p99,p99.9,read p99 to idle'.split(',');
  print(`${formatTable(head, rows)}\n\nMilliseconds.`);
}
