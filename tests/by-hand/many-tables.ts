/**
 * Runs every verb on a database with many instruments and the default size of PostgreSQL's lock table.
 * Prints how long each took and how many locks it held, and fails if one of them fails.
 *
 *     npx tsx tests/by-hand/many-tables.ts
 *     npx tsx tests/by-hand/many-tables.ts --instruments 60 --max-connections 20
 *     KLINEKEEP_TEST_URL=postgres://admin@host/postgres npx tsx tests/by-hand/many-tables.ts
 *
 * Starts a server and deletes it afterwards, or uses the server of KLINEKEEP_TEST_URL, where it creates a
 * database and drops it afterwards.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { formatTable } from '../../lib/base/format.ts';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { type FakeBinance, startFakeBinance } from '../support/fake-binance/server.ts';
import { defaultSymbols } from '../support/fake-binance/symbols.ts';
import { startOwnServer } from '../support/own-server.ts';

const LOADER = resolve(PROJECT_DIR, 'node_modules/tsx/dist/loader.mjs');
const SAMPLE_MS = 15;
/** Another run locked an instrument, which is correct when several verbs run at once. */
const LATER = 75;

const { values } = parseArgs({
  options: {
    instruments: { type: 'string', default: '600' },
    'max-connections': { type: 'string', default: '100' },
    'max-locks': { type: 'string', default: '64' },
  },
});

const INSTRUMENTS = Number(values.instruments);
const LOCK_TABLE = {
  max_connections: Number(values['max-connections']),
  max_locks_per_transaction: Number(values['max-locks']),
};

interface Measured {
  verb: string;
  seconds: number;
  exitCode: number;
  locks: Locks;
}

interface Locks {
  /** Highest number in one session. */
  inSession: number;
  /** Highest number of entries in the shared lock table. */
  inTable: number;
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-tables-'));
  const given = process.env.KLINEKEEP_TEST_URL;
  const server = given === undefined ? await startOwnServer(LOCK_TABLE) : undefined;
  const adminUrl = given ?? server?.url ?? '';
  const name = `many_tables_${process.pid}`;
  const admin = postgres(adminUrl, { max: 1, onnotice: () => {} });
  const exchange = await startFakeBinance({ symbols: defaultSymbols(INSTRUMENTS + 1) });
  try {
    await admin.unsafe(`create database ${name}`);
    const url = new URL(adminUrl);
    url.pathname = `/${name}`;
    const failed = await runVerbs(url.href, exchange, join(folder, 'page.html'));
    process.exitCode = failed ? 1 : 0;
  } finally {
    await exchange.close();
    await admin.unsafe(`drop database if exists ${name} with (force)`);
    await admin.end();
    await server?.stop();
    await rm(folder, { recursive: true });
  }
}

/** @returns whether a verb failed */
async function runVerbs(url: string, exchange: FakeBinance, page: string): Promise<boolean> {
  const watch = postgres(url, { max: 1, onnotice: () => {}, prepare: false });
  const rows: Measured[] = [];
  const run = async (...calls: string[][]) => {
    resetWeight(exchange);
    rows.push(...(await measure(watch, url, exchange.url, calls)));
  };

  await run(['sync-instruments', '--market', 'spot']);
  await run(['update-klines', '--interval', '1h', '--limit', '96']);
  const registered = await watch`select symbol from instruments where status = 'active' order by 1`;
  const symbols = registered.map((each) => each.symbol);
  const one = symbols[0];
  await run(['sync-instruments']);
  await run(['update-klines']);
  await run(['update-klines', '--limit', '90']);
  await run(['update-klines', '--limit', '24', '--force']);
  await run(['fetch-history', ...symbols, '--interval', '1h', '--since', '5d', '--source', 'rest']);
  await run(['archive', '3', '--dry-run']);
  await run(['archive', '3']);
  await run(['archive', '3']);
  await run(['archive-log']);
  await run(['archive-log', '--run', '1']);
  await run(['status']);
  await run(['report', '--output', page]);
  await run(['metrics']);
  await run(['candles', one, '1d', '--from', '5d']);
  await run(['verify-integrity']);
  await run(['verify-integrity', '--deep']);
  await run(['verify-integrity', '--compare', '1']);
  await run(['verify-integrity', '--repair']);
  await run(['crontab']);
  await run(['update-klines', '--force'], ['verify-integrity', '--deep'], ['archive', '2']);
  await run(['update-klines', '--limit', '90'], ['status'], ['report', '--output', page]);
  const days = ['--from', '10d', '--to', '0d'];
  await run(['restore', symbols.join(','), ...days, '--dry-run']);
  await run(['restore', symbols.join(','), ...days]);
  await run(['verify-integrity', '--deep']);
  rows.push(...(await measureQueries(watch, one)));
  await report(watch, rows);
  await watch.end();
  return rows.some((row) => row.exitCode !== 0);
}

/** Resets the request weight, so that a verb does not wait because of the previous one. */
function resetWeight(exchange: FakeBinance): void {
  exchange.weights.spot.used = 0;
}

/** Runs scripts as processes, several at once, and samples the locks meanwhile. */
async function measure(
  watch: postgres.Sql,
  url: string,
  exchangeUrl: string,
  calls: readonly string[][],
): Promise<Measured[]> {
  const locks: Locks = { inSession: 0, inTable: 0 };
  let isDone = false;
  const sampling = (async () => {
    while (!isDone) {
      await sampleLocks(watch, locks);
      await sleep(SAMPLE_MS);
    }
  })();
  const measured = await Promise.all(
    calls.map(async (call) => {
      const verb = call.join(' ').replace(/(\S+\/\S+[ ,]){3,}\S+/, '(all)');
      const startedMs = performance.now();
      const { exitCode, stderr } = await runProcess(url, exchangeUrl, call);
      const seconds = (performance.now() - startedMs) / 1000;
      const isLater = calls.length > 1 && exitCode === LATER;
      if (exitCode !== 0 && !isLater)
        process.stderr.write(`${verb}: ${exitCode}\n${stderr.slice(0, 3000)}\n`);
      const shown = calls.length > 1 ? `(at once) ${verb}` : verb;
      process.stderr.write(`${seconds.toFixed(1)} s  ${shown}\n`);
      return { verb: shown, seconds, exitCode: isLater ? 0 : exitCode, locks };
    }),
  );
  isDone = true;
  await sampling;
  return measured;
}

async function sampleLocks(watch: postgres.Sql, locks: Locks): Promise<void> {
  const [row] = await watch`
    select
      coalesce(max(held), 0)::int as in_session,
      coalesce(sum(in_table), 0)::int as in_table
    from (
      select count(*) as held, count(*) filter (where not fastpath) as in_table
      from pg_locks
      where pid <> pg_backend_pid()
      group by pid
    ) as sessions`;
  locks.inSession = Math.max(locks.inSession, row?.in_session);
  locks.inTable = Math.max(locks.inTable, row?.in_table);
}

async function runProcess(url: string, exchangeUrl: string, [name, ...words]: readonly string[]) {
  const script = resolve(PROJECT_DIR, `scripts/${name}.ts`);
  const child = spawn(process.execPath, ['--import', LOADER, script, ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...{ PATH: process.env.PATH, HOME: process.env.HOME, BINANCE_WEIGHT_PERCENT: '100' },
      ...{ DATABASE_URL: url, BINANCE_BULK_URL: exchangeUrl },
      ...{ BINANCE_SPOT_URL: exchangeUrl, BINANCE_USDM_URL: exchangeUrl },
    },
  });
  const [stderr, [exitCode]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  return { exitCode: exitCode ?? 1, stderr };
}

/** Queries that a user may write: the locks that each holds at its end. */
async function measureQueries(sql: postgres.Sql, symbol: string): Promise<Measured[]> {
  const [found] = await sql`select id, table_name from instruments where symbol = ${symbol}`;
  const queries = [
    `select count(*) from all_klines where symbol = '${symbol}'`,
    `select count(*) from all_klines where instrument_id = ${found?.id}`,
    `select count(*) from all_klines where instrument_id = (select id from instruments where symbol = '${symbol}')`,
    `select count(*) from all_klines where instrument_id = instrument_id('${symbol}')`,
    `select count(*) from "${found?.table_name}"`,
    'select count(*) from all_klines',
    'alter table klines add column note text; alter table klines_archive add column note text',
  ];
  const measured: Measured[] = [];
  for (const verb of queries) {
    const startedMs = performance.now();
    try {
      const locks = await sql.begin(async (tx) => {
        await tx.unsafe(verb);
        const [row] = await tx`
          select count(*)::int as held, (count(*) filter (where not fastpath))::int as in_table
          from pg_locks where pid = pg_backend_pid()`;
        return { inSession: row?.held, inTable: row?.in_table };
      });
      const seconds = (performance.now() - startedMs) / 1000;
      measured.push({ verb, seconds, exitCode: 0, locks });
    } catch (error) {
      process.stderr.write(`${verb}: ${error}\n`);
      const seconds = (performance.now() - startedMs) / 1000;
      measured.push({ verb, seconds, exitCode: 1, locks: { inSession: 0, inTable: 0 } });
    }
  }
  return measured;
}

async function report(sql: postgres.Sql, rows: readonly Measured[]): Promise<void> {
  const [server] = await sql`
    select
      current_setting('server_version') as version,
      current_setting('max_locks_per_transaction')::int as locks,
      current_setting('max_connections')::int as connections,
      (select count(*)::int from pg_inherits where inhparent in ('klines'::regclass, 'klines_archive'::regclass)) as tables`;
  const lines = rows.map(({ verb, seconds, locks, exitCode }) => [
    verb,
    seconds.toFixed(2),
    String(locks.inSession),
    String(locks.inTable),
    String(exitCode),
  ]);
  const heads = ['verb', 'seconds', 'session', 'lock table', 'exit'];
  process.stdout.write(
    `${formatTable(heads, lines)}\n\n` +
      `PostgreSQL ${server?.version}, ${INSTRUMENTS} instruments, ${server?.tables} tables; ` +
      `max_locks_per_transaction ${server?.locks}, max_connections ${server?.connections}\n`,
  );
}

main();
