import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { $ } from 'zx';
import { EXIT, formatTable, KlinekeepError, PROJECT_DIR } from '../lib/base/mod.ts';
import { type Context, defineScript, main } from '../lib/cli/mod.ts';
import { startEmbedded } from '../lib/embedded/mod.ts';
import { connectDatabase } from '../lib/postgres/mod.ts';

const LIVE_TIMEOUT_MS = 3_000;
/** Arguments of Node that run a file of TypeScript. */
const LOADER = ['--import', resolve(PROJECT_DIR, 'node_modules/tsx/dist/loader.mjs')];

/** The verbs of the demo with their script and arguments. */
const STEPS = [
  ['sync', 'sync-instruments', '--market', 'spot', '--quote', 'USDT'],
  ['fetch', 'fetch-history', 'BTC/USDT', '--interval', '1h', '--since', '400d'],
  ['fetch', 'fetch-history', 'BTC/USDT', 'ETH/USDT', '--interval', '1m', '--since', '7d'],
  ['update', 'update-klines'],
  ['archive', 'archive', '365'],
  ['verify', 'verify-integrity'],
] as const;

const NEXT = `Next, in a database for your own candles (on the same server):

  npx just sync --market usdm          register all active perpetuals
  npx just fetch BTC/USDT --since 1y   fetch a year of 1m candles
  npx just update                      bring every stored series up to date
  npx just archive 365 --dry-run       see what would move to the archive tables
  npx just candles BTC/USDT 4h         read any interval, archived or not
  npx just status                      see whether everything is fresh
  npx just report                      write a page with charts
  npx just verify                      check every candle
  npx just db psql                     use SQL: select * from all_klines limit 5`;

/** @returns what is stored after all steps */
async function runDemo(context: Context): Promise<Holding[]> {
  const isLive = await binanceAnswers(context.env.spotUrl);
  // Real candles and made-up ones must never be in one database.
  const url = await startEmbedded(context.env.klinesHome, {
    database: isLive ? 'demo_live' : 'demo_made_up',
  });
  const fake = isLive ? undefined : await startFakeExchange();
  context.log.info(
    fake
      ? `Binance does not answer within ${LIVE_TIMEOUT_MS / 1000} s. THESE CANDLES ARE MADE UP\nby a fake exchange on this machine.`
      : `These are real candles, from ${context.env.spotUrl}.`,
  );
  try {
    const env = { ...process.env, ...fake?.env, DATABASE_URL: url };
    for (const [recipe, name, ...words] of STEPS) {
      context.signal.throwIfAborted();
      context.log.info(`\n$ just ${[recipe, ...words].join(' ')}`);
      await runStep(name, words, env);
    }
  } finally {
    fake?.stop();
  }
  return await readHoldings(url);
}

async function binanceAnswers(spotUrl: string): Promise<boolean> {
  const signal = AbortSignal.timeout(LIVE_TIMEOUT_MS);
  const answer = await fetch(`${spotUrl}/api/v3/time`, { signal }).catch(() => undefined);
  return answer?.ok ?? false;
}

/** Starts a process that ends when its standard input closes, so at the latest with this one. */
async function startFakeExchange() {
  const file = resolve(PROJECT_DIR, 'tests/support/fake-binance/main.ts');
  const child = spawn(process.execPath, [...LOADER, file], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(createInterface(child.stdout), 'line');
  const { url } = JSON.parse(line);
  return {
    env: { BINANCE_SPOT_URL: url, BINANCE_USDM_URL: url, BINANCE_BULK_URL: url, HTTPS_PROXY: '' },
    stop: () => child.kill(),
  };
}

async function runStep(
  name: string,
  words: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const script = resolve(PROJECT_DIR, `scripts/${name}.ts`);
  const { exitCode } = await $({
    env,
    // The steps are not the result, so they are printed to stderr.
    stdio: ['inherit', process.stderr, 'inherit'],
    nothrow: true,
  })`${process.execPath} ${LOADER} ${script} ${words}`;
  // 75: a gap at Binance is not proven yet.
  if (exitCode === EXIT.done || exitCode === EXIT.findings || exitCode === EXIT.later) return;
  throw new KlinekeepError('failed', `${name} ended with exit code ${exitCode}.`, {
    hint: 'The error message is printed above.',
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

async function readHoldings(url: string): Promise<Holding[]> {
  const { sql, close } = await connectDatabase(url, 'klinekeep demo');
  const rows = await sql<Holding[]>`
    select symbol, interval, tier, count(*)::int as candles, min(open_time) as first, max(open_time) as last
    from all_klines
    group by symbol, interval, tier
    order by symbol, interval, tier desc`;
  await close();
  return [...rows];
}

function formatHoldings(holdings: readonly Holding[]): string {
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

export const script = defineScript({
  name: 'demo',
  summary: 'Run sync, fetch, update, archive and verify once, in a separate demo database',
  examples: [''],
  options: {},
  read: (values) => values,
  async run(_, context) {
    const holdings = await runDemo(context);
    return { json: { holdings }, text: `\n${formatHoldings(holdings)}\n\n${NEXT}` };
  },
});

await main(import.meta, script);
