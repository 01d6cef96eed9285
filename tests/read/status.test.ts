import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { runScript, startScript } from '../support/script.ts';
import { startStore } from '../support/store.ts';

const HOUR_MS = 3_600_000;

/** Three series with their last candles an hour ago, archived up to twenty days ago. */
async function setUp() {
  const nowMs = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
  const { sql, env, run } = await startStore({ nowMs });
  const since = ['--since', '40d', '--until', 'now'];
  await run('fetch-history', 'BTC/USDT', 'ETH/USDT', '--interval', '1h', ...since);
  await run('fetch-history', 'BTC/USDT', '--interval', '1d', ...since);
  await run('archive', '20', '--interval', '1h');
  const status = async (...words: string[]) => {
    const result = await run('status', ...words, '--json');
    return { ...result, ...JSON.parse(result.stdout) };
  };
  return { sql, env, run, status };
}

test('status: prints first and last candle, tiers and gaps of each series', async () => {
  const { sql, run, status } = await setUp();
  const { exitCode, series } = await status();
  expect(exitCode).toBe(EXIT.done);
  const stored = await sql`
    select symbol, interval, min(open_time) as first, max(open_time) as last,
      count(*) filter (where tier = 'hot')::int as hot,
      count(*) filter (where tier = 'archive')::int as archive
    from all_klines group by symbol, interval order by symbol, interval desc`;
  expect(stored).toHaveLength(3);
  const iso = (time: Date) => time.toISOString().replace('.000Z', 'Z');
  expect(series).toMatchObject(
    stored.map((row) => ({
      symbol: row.symbol,
      interval: row.interval,
      first: iso(row.first),
      last: iso(row.last),
      estimatedRows: { hot: row.hot, archive: row.archive },
      gaps: { candles: 0, spans: 0 },
    })),
  );
  expect(series[0].tableBytes.archive).toBeGreaterThan(0);

  const [gap] = await sql`
    delete from klines where interval = '1h' and open_time = (select min(open_time) + interval '3 hours' from klines where interval = '1h')
      and instrument_id = (select id from instruments where symbol = 'BTC/USDT')
    returning instrument_id, open_time`;
  await sql`insert into confirmed_gaps (instrument_id, interval, from_time, to_time)
    values (${gap!.instrument_id}, '1h', ${gap!.open_time}, ${new Date(gap!.open_time.getTime() + HOUR_MS)})`;
  const after = (await status('--symbol', 'BTC/USDT', '--interval', '1h')).series;
  expect(after).toHaveLength(1);
  expect(after[0]).toMatchObject({
    gaps: { candles: 1, spans: 1 },
    estimatedRows: { hot: series[0].estimatedRows.hot - 1 },
  });
  const table = await run('status');
  expect(table.stdout).toMatch(
    /^BTC\/USDT +1h +\d{4}-\d\d-\d\d +\d{4}-\d\d-\d\d +\w+ +~(4|5)\d\d +~(4|5)\d\d +\S+ +1$/m,
  );
  expect(Math.max(...table.stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
});

test('status --stale: exits with 2 for active series, even with --quiet', async () => {
  const { sql, run, status } = await setUp();
  expect((await run('status', '--stale', '2h', '--quiet')).stdout).toBe('');
  await sql`
    delete from klines where open_time > now() - interval '5 hours' and interval = '1h'
      and instrument_id = (select id from instruments where symbol = 'ETH/USDT')`;
  const late = await run('status', '--stale', '2h', '--quiet');
  expect(late.exitCode).toBe(EXIT.findings);
  expect(late.stdout).toContain('1 of 3 series is behind by more than 2h:');
  expect(late.stdout).toMatch(/ETH\/USDT +1h .*\n$/);
  expect((await status('--stale', '1d')).exitCode).toBe(EXIT.done);
  await sql`update instruments set status = 'delisted' where symbol = 'ETH/USDT'`;
  expect((await status('--stale', '2h')).exitCode).toBe(EXIT.done);
  expect((await run('status', '--stale', '2 hours')).stderr).toContain('Expected a span such as');
});

test('status: accepts instruments without a table', async () => {
  const { sql, run } = await startStore();
  await sql`
    insert into instruments (market, symbol, exchange_symbol, base, quote, status, table_name)
    values ('spot', 'A/B', 'AB', 'A', 'B', 'active', 'a_b')`;
  expect((await run('status')).stdout).toBe('Nothing is stored yet. Start with fetch.\n');
});

test('runs: records outcome and counts; a killed run has no end', async () => {
  const { sql, env, run, status } = await setUp();
  await run('candles', 'NIX/USDT', '1h');
  const runs = (await status()).runs as { verb: string }[];
  const lastRun = (verb: string) => runs.find((each) => each.verb === verb);
  expect(lastRun('fetch')).toMatchObject({
    exitCode: 0,
    outcome: 'done',
    counts: { series: 1 },
  });
  expect(lastRun('archive')).toMatchObject({ counts: { rows: expect.any(Number), tables: 2 } });
  expect(lastRun('candles')).toMatchObject({
    exitCode: EXIT.data,
    outcome: 'data',
    message: 'Not registered: NIX/USDT.',
  });
  expect((await run('status')).stdout).toMatch(/^candles +.* data: Not registered: NIX\/USDT\.$/m);
  await run('archive', '1', '--dry-run');
  expect((await status()).runs).toEqual(runs);

  const words = ['BTC/USDT', '1h', '--from', '2020-01-01', '--format', 'csv'];
  const locks = await sql.begin(async (tx) => {
    await tx`lock table klines in access exclusive mode`;
    const running = startScript('candles', words, env);
    await waitFor(async () => {
      const [row] = await sql`select 1 from runs where verb = 'candles' and exit_code is null`;
      return row !== undefined;
    });
    running.process.kill('SIGKILL');
    await running.result;
    return true;
  });
  expect(locks).toBe(true);
  expect((await run('status')).stdout).toMatch(/^candles +.* running, or killed$/m);

  await sql`update runs set started_at = now() - interval '31 days' where verb = 'candles'`;
  await run('candles', 'BTC/USDT', '1h');
  const [left] = await sql`select count(*)::int as count from runs where verb = 'candles'`;
  expect(left?.count).toBe(1);
});

async function waitFor(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await new Promise((settle) => setTimeout(settle, 20));
}

test('read-only database: is read; verbs that write exit with 78', async () => {
  const { sql, run } = await setUp();
  const [row] = await sql`select current_database() as name`;
  await sql.unsafe(`alter database "${row!.name}" set default_transaction_read_only = on`);
  const result = await run('candles', 'BTC/USDT', '1d');
  expect(result).toMatchObject({ exitCode: EXIT.done, stderr: '' });
  const [count] = await sql`select count(*)::int as count from runs where verb = 'candles'`;
  expect(count?.count).toBe(0);
  for (const [verb, ...words] of [['archive', '1'], ['sync-instruments']] as [
    string,
    ...string[],
  ][]) {
    const refused = await run(verb, ...words);
    expect(refused.exitCode).toBe(EXIT.config);
    expect(refused.stderr).toContain('Cannot write: role klinekeep may only read here');
  }
});

test('HEALTHCHECK_URL: receives start and exit code, and never fails a run', async () => {
  const requested: string[] = [];
  const monitor = createServer((request, response) => {
    requested.push(request.url ?? '');
    response.statusCode = 500;
    response.end('no');
  }).listen(0, '127.0.0.1');
  await once(monitor, 'listening');
  onTestFinished(() => void monitor.close());
  const HEALTHCHECK_URL = `http://127.0.0.1:${(monitor.address() as AddressInfo).port}/ping/abc/`;
  const store = await startStore();
  const env = { ...store.env, HEALTHCHECK_URL };
  expect((await runScript('status', [], env)).exitCode).toBe(EXIT.done);
  expect((await runScript('candles', ['NIX/USDT', '1h'], env)).exitCode).toBe(EXIT.data);
  expect(requested).toEqual(['/ping/abc/start', '/ping/abc/0', '/ping/abc/start', '/ping/abc/65']);
  await runScript('status', ['--help'], env);
  await runScript('archive', ['1', '--dry-run'], env);
  expect(requested).toHaveLength(4);

  const unreachable = { ...env, HEALTHCHECK_URL: 'http://127.0.0.1:1/' };
  expect(await runScript('status', [], unreachable)).toMatchObject({
    exitCode: EXIT.done,
    stderr: '',
  });
});
