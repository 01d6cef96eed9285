import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { $ } from 'zx';
import { EXIT, formatTable, KlinekeepError, PROJECT_DIR, z } from '../lib/base/mod.ts';
import { type Context, main, type Script } from '../lib/cli/mod.ts';
import { startEmbedded } from '../lib/embedded/mod.ts';
import { connectDatabase } from '../lib/postgres/mod.ts';

const LIVE_ANSWER_WITHIN_MS = 3_000;
const TSX = resolve(PROJECT_DIR, 'node_modules/.bin/tsx');

/** What a newcomer would type, as recipe, script and arguments. */
const STEPS = [
  ['sync', 'sync-instruments', '--market', 'spot', '--quote', 'USDT'],
  ['fetch', 'fetch-history', 'BTC/USDT', '--interval', '1h', '--since', '400d'],
  ['fetch', 'fetch-history', 'BTC/USDT', 'ETH/USDT', '--interval', '1m', '--since', '7d'],
  ['update', 'update-klines'],
  ['archive', 'archive', '365'],
  ['verify', 'verify-integrity'],
] as const;

const NEXT = `Now in a database of your own (the same server, another database):

  npx just sync --market usdm          register all active perpetuals
  npx just fetch BTC/USDT --since 1y   fetch a year of 1m candles
  npx just update                      bring every stored series up to date
  npx just archive 365 --dry-run       see what would move to the archive tables
  npx just candles BTC/USDT 4h         read any interval, archived candles too
  npx just status                      see whether everything is fresh
  npx just report                      write a page with charts
  npx just verify                      check every candle
  npx just db psql                     use SQL: select * from all_klines limit 5`;

/** Takes the whole way once: sync, fetch, update, archive, verify. */
async function demo(context: Context): Promise<Holding[]> {
  const isLive = await binanceAnswers(context.env.spotUrl);
  // Real candles and made-up ones must never meet in one database.
  const url = await startEmbedded(context.env.klinesHome, {
    database: isLive ? 'demo_live' : 'demo_made_up',
  });
  const standIn = isLive ? undefined : await startStandIn();
  context.log.info(
    standIn
      ? `Binance does not answer within ${LIVE_ANSWER_WITHIN_MS / 1000} s. THESE CANDLES ARE MADE UP:\nthey come from a stand-in on this machine.`
      : `These are real candles, from ${context.env.spotUrl}.`,
  );
  try {
    const places = standIn
      ? {
          BINANCE_SPOT_URL: standIn.url,
          BINANCE_USDM_URL: standIn.url,
          BINANCE_BULK_URL: standIn.url,
          HTTPS_PROXY: '',
        }
      : {};
    for (const [recipe, name, ...words] of STEPS) {
      context.signal.throwIfAborted();
      context.log.info(`\n$ just ${[recipe, ...words].join(' ')}`);
      await runStep(name, words, { ...process.env, ...places, DATABASE_URL: url });
    }
  } finally {
    standIn?.process.kill();
  }
  return await whatIsWhere(url);
}

async function binanceAnswers(spotUrl: string): Promise<boolean> {
  try {
    const answer = await fetch(`${spotUrl}/api/v3/time`, {
      signal: AbortSignal.timeout(LIVE_ANSWER_WITHIN_MS),
    });
    return answer.ok;
  } catch {
    return false;
  }
}

/** Runs in a process of its own and ends when its standard input does, so at the latest with us. */
async function startStandIn(): Promise<{ url: string; process: ChildProcess }> {
  const file = resolve(PROJECT_DIR, 'tests/support/fake-binance/main.ts');
  const child = spawn(TSX, [file], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(createInterface(child.stdout), 'line');
  return { url: JSON.parse(line).url, process: child };
}

async function runStep(
  name: string,
  words: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const script = resolve(PROJECT_DIR, `scripts/${name}.ts`);
  const { exitCode } = await $({
    env,
    stdio: ['inherit', process.stderr, 'inherit'],
    nothrow: true,
  })`${TSX} ${script} ${words}`;
  if (exitCode === EXIT.done || exitCode === EXIT.findings) return;
  throw new KlinekeepError('failed', `${name} ended with exit code ${exitCode}.`, {
    hint: 'What it said is above.',
  });
}

interface Holding {
  symbol: string;
  interval: string;
  tier: string;
  candles: number;
  first: Date;
  last: Date;
}

async function whatIsWhere(url: string): Promise<Holding[]> {
  const { sql, close } = await connectDatabase(url, 'klinekeep demo');
  const rows = await sql<Holding[]>`
    select symbol, interval, tier, count(*)::int as candles, min(open_time) as first, max(open_time) as last
    from all_klines
    group by symbol, interval, tier
    order by symbol, interval, tier desc`;
  await close();
  return [...rows];
}

function showHoldings(holdings: readonly Holding[]): string {
  const minute = (time: Date) => time.toISOString().slice(0, 16).replace('T', ' ');
  return formatTable(
    ['symbol', 'interval', 'tier', 'candles', 'first (UTC)', 'last (UTC)'],
    holdings.map((row) => [
      row.symbol,
      row.interval,
      row.tier,
      row.candles,
      minute(row.first),
      minute(row.last),
    ]),
  );
}

export const script: Script<object> = {
  name: 'demo',
  summary: 'The whole way once, in a database of its own: sync, fetch, update, archive, verify',
  examples: [''],
  args: {},
  options: z.object({}),
  async run(_, context) {
    const holdings = await demo(context);
    return { json: { holdings }, text: `\n${showHoldings(holdings)}\n\n${NEXT}` };
  },
};

await main(import.meta, script);
