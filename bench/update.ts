/**
 * Updates 500 perpetuals from nothing (2000 candles each), then again, then with two processes at
 * once. Whole processes run against the fake exchange at 50 ms latency, beside the usual way: one
 * request after the other with 0.1 s of sleep, one SELECT and one INSERT for each row.
 *
 *     just bench update
 *     BENCH_SYMBOLS=100 just bench update
 *
 * The fake exchange counts weight by the clock minute as Binance does, so "from nothing" takes
 * minutes: the bound is the least time that the weight allows from its beginning.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { formatTable } from '../lib/base/mod.ts';
import { klinesWeight, PAGE_SIZE, WEIGHT_PER_MINUTE } from '../lib/binance/mod.ts';
import type { Interval } from '../lib/market/mod.ts';
import type { RawRow } from '../tests/support/fake-binance/candles.ts';
import { print, toCommand, withServer } from './support.ts';

const SYMBOLS = Number(process.env.BENCH_SYMBOLS ?? 500);
const CANDLES = 2000;
const LATENCY_MS = 50;
const REFERENCE_SYMBOLS = 10;
const MINUTE_MS = 60_000;
const ALLOWANCE = WEIGHT_PER_MINUTE.usdm * 0.8;

interface Measured {
  way: string;
  seconds: number;
  requests: number;
  weight: number;
  highestMinute: number;
  boundSeconds?: number;
  /** How often a run had to wait for a 429. */
  refusals?: number;
  memoryMb?: number;
}

await withServer(async ({ url, sql }) => {
  const exchange = await startExchange();
  const env = {
    DATABASE_URL: url,
    BINANCE_SPOT_URL: exchange.url,
    BINANCE_USDM_URL: exchange.url,
    BINANCE_BULK_URL: exchange.url,
  };
  try {
    await script('sync-instruments', ['--market', 'usdm'], env);
    const rows: Measured[] = [];
    const startedMs = Date.now();
    const first = await update('from nothing', env, ['--market', 'usdm', ...newSeries('4h')]);
    rows.push({ ...first, boundSeconds: leastSeconds(startedMs, first.weight) });
    await sql`delete from klines where open_time >= (select max(open_time) from klines) - interval '4 hours'`;
    await nextMinute();
    rows.push(await update('up to date', env, ['--market', 'usdm']));
    await nextMinute();
    rows.push(await twoAtOnce(sql, env));
    await nextMinute();
    rows.push(await reference(sql, exchange.url));
    report(rows);
  } finally {
    exchange.stop();
  }
});

/** In a process of its own, as the exchange is a machine of its own. */
async function startExchange(): Promise<{ url: string; stop: () => void }> {
  const words = ['--symbols', String(SYMBOLS), '--latency-ms', String(LATENCY_MS)];
  const command = toCommand('tests/support/fake-binance/main.ts', ...words);
  const child = spawn(...command, { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  return { url: JSON.parse(String(line)).url, stop: () => child.kill() };
}

async function script(name: string, words: string[], env: Record<string, string>) {
  const startedMs = performance.now();
  const child = spawn(...toCommand(`scripts/${name}.ts`, ...words, '--json', '--quiet'), {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let memoryKb = 0;
  const sampler = setInterval(() => {
    void residentKb(child.pid as number).then((kb) => {
      memoryKb = Math.max(memoryKb, kb);
    });
  }, 200);
  const [out, log, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ]);
  clearInterval(sampler);
  if (code !== 0) throw new Error(`${name} ended with ${code}: ${log}${out.slice(0, 500)}`);
  const refusals = [...log.matchAll(/\b429\b/g)].length;
  const seconds = (performance.now() - startedMs) / 1000;
  return { json: JSON.parse(out), seconds, memoryKb, refusals };
}

async function residentKb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
}

async function update(
  way: string,
  env: Record<string, string>,
  words: string[],
): Promise<Measured> {
  const { json, seconds, memoryKb, refusals } = await script('update-klines', words, env);
  if (json.failed.length > 0) throw new Error(JSON.stringify(json.failed));
  return { way, seconds, ...json.requests.usdm, refusals, memoryMb: memoryKb / 1024 };
}

/** The options for a series that begins with `CANDLES` candles. */
function newSeries(interval: Interval): string[] {
  return ['--interval', interval, '--limit', String(CANDLES)];
}

/** Two processes with half of the symbols each: together they must keep to the same bound. */
async function twoAtOnce(sql: postgres.Sql, env: Record<string, string>): Promise<Measured> {
  const instruments = await sql`select symbol from instruments order by id`;
  const symbols: string[] = instruments.map((instrument) => instrument.symbol);
  const middle = Math.ceil(symbols.length / 2);
  const startedMs = Date.now();
  const [one, other] = await Promise.all(
    [symbols.slice(0, middle), symbols.slice(middle)].map((half) =>
      update('two at once', env, ['--symbol', half.join(','), ...newSeries('1h')]),
    ),
  );
  const weight = one!.weight + other!.weight;
  return {
    way: 'two at once',
    seconds: Math.max(one!.seconds, other!.seconds),
    requests: one!.requests + other!.requests,
    weight,
    highestMinute: Math.max(one!.highestMinute, other!.highestMinute),
    boundSeconds: leastSeconds(startedMs, weight),
    refusals: one!.refusals! + other!.refusals!,
    memoryMb: one!.memoryMb! + other!.memoryMb!,
  };
}

/** How long so much weight takes when each minute allows so much, from that moment on. */
function leastSeconds(startedMs: number, weight: number): number {
  const fullMinutes = Math.ceil(weight / ALLOWANCE) - 1;
  if (fullMinutes === 0) return 0;
  return (MINUTE_MS - (startedMs % MINUTE_MS) + (fullMinutes - 1) * MINUTE_MS) / 1000;
}

async function nextMinute(): Promise<void> {
  await sleep(MINUTE_MS - (Date.now() % MINUTE_MS) + 500);
}

/** One after the other, 0.1 s apart, a SELECT and an INSERT a row. On a slice, for all of them. */
async function reference(sql: postgres.Sql, exchangeUrl: string): Promise<Measured> {
  const instruments = await sql`
    select id, exchange_symbol from instruments order by id limit ${REFERENCE_SYMBOLS}`;
  const startedMs = performance.now();
  let requests = 0;
  for (const { id, exchange_symbol: symbol } of instruments) {
    let before = Date.now();
    for (let left = CANDLES; left > 0; left -= 1000) {
      const query = `symbol=${symbol}&interval=6h&endTime=${before}&limit=1000`;
      const answer = await fetch(`${exchangeUrl}/fapi/v1/klines?${query}`);
      const rows = (await answer.json()) as RawRow[];
      requests += 1;
      for (const row of rows) await insertIfNew(sql, id, row);
      before = (rows[0]?.[0] ?? 0) - 1;
      await sleep(100);
    }
  }
  const scale = SYMBOLS / instruments.length;
  return {
    way: 'one by one, a SELECT a row',
    seconds: ((performance.now() - startedMs) / 1000) * scale,
    requests: requests * scale,
    weight: requests * scale * klinesWeight('usdm', 1000),
    highestMinute: 0,
  };
}

async function insertIfNew(sql: postgres.Sql, id: number, row: RawRow): Promise<void> {
  const openTime = new Date(row[0]);
  const found = await sql`
    select 1 from klines where instrument_id = ${id} and interval = '6h' and open_time = ${openTime}`;
  if (found.length > 0) return;
  await sql`
    insert into klines (
      instrument_id, interval, open_time, close_time, open_price, high_price, low_price, close_price,
      volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
    ) values (
      ${id}, '6h', ${openTime}, ${new Date(row[6])}, ${row[1]}, ${row[2]}, ${row[3]}, ${row[4]},
      ${row[5]}, ${row[7]}, ${row[8]}, ${row[9]}, ${row[10]}
    )`;
}

function report(rows: readonly Measured[]): void {
  const lines = rows.map((row) => [
    row.way,
    row.seconds.toFixed(1),
    !row.boundSeconds
      ? ''
      : `${row.boundSeconds.toFixed(1)} (${(row.seconds / row.boundSeconds).toFixed(2)} x)`,
    String(Math.round(row.requests)),
    String(Math.round(row.weight)),
    row.highestMinute ? String(row.highestMinute) : '',
    row.refusals === undefined ? '' : String(row.refusals),
    row.memoryMb ? row.memoryMb.toFixed(0) : '',
  ]);
  const heads = ['way', 'seconds', 'weight allows', 'requests', 'weight', 'minute', '429s', 'MB'];
  print(
    `${formatTable(heads, lines)}\n\n${SYMBOLS} perpetuals, ${CANDLES} candles each; pages of ` +
      `${PAGE_SIZE.usdm}, ${ALLOWANCE} weight a minute allowed; one by one measured on ` +
      `${REFERENCE_SYMBOLS} of them.`,
  );
}
