/** Every verb once, on whatever server the tests run on. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { INTERVALS } from '../../lib/market/intervals.ts';
import { listInstruments } from '../../lib/store/instruments.ts';
import { fetchableRanges } from '../../lib/store/series.ts';
import { emptyDatabase, freshDatabase } from '../support/database.ts';
import { runScript } from '../support/script.ts';
import { makeFolder, startExchange } from '../support/store.ts';

test('verbs: all of them work, from an empty database on', async () => {
  const folder = await makeFolder();
  const fake = await startExchange({ nowMs: Date.parse('2024-06-01T00:30Z') });
  const env = { DATABASE_URL: await emptyDatabase(), ...fake.env };
  const run = async (name: string, ...words: string[]) => {
    const result = await runScript(name, words, env);
    expect(result, name).toMatchObject({ exitCode: EXIT.done });
    return result.stdout;
  };
  const json = async (name: string, ...words: string[]) =>
    JSON.parse(await run(name, ...words, '--json'));

  await run('sync-instruments', '--market', 'spot');
  const range = ['--since', '2024-03-01', '--until', '2024-05-31'];
  await run('fetch-history', 'BTC/USDT', 'ETH/USDT', '--interval', '1h', ...range);
  await run('fetch-history', 'BTC/USDT', '--interval', '1M', '--since', '2023-01-01');
  await run('update-klines', '--symbol', 'BTC/USDT', '--limit', '100');
  await run('update-klines', '--symbol', 'ETH/USDT', '--limit', '50', '--force');
  await run('archive', '30', '--as-of', '2024-06-01', '--dry-run');
  expect(await json('archive', '30', '--as-of', '2024-06-01')).toMatchObject({ outcome: 'done' });
  await run('restore', 'BTC/USDT', '--from', '2024-03-05', '--to', '2024-03-20');
  await run('verify-integrity', '--deep');
  await run('verify-integrity', '--repair', '--compare', '5');
  const candles = async (interval: string, from: string, to: string) =>
    (await json('candles', 'BTC/USDT', interval, '--from', from, '--to', to)).candles;
  expect(await candles('1h', '2024-03-01', '2024-05-01')).toHaveLength(61 * 24);
  expect(await candles('1M', '2023-01-01', '2024-06-01')).toHaveLength(17);
  expect(await json('status')).toMatchObject({ series: { length: 3 } });
  await run('archive-log');
  await run('gaps', 'BTC/USDT');
  await run('metrics', '--output', join(folder, 'klinekeep.prom'));
  await run('report', '--output', join(folder, 'report.html'));
  expect(await readFile(join(folder, 'report.html'), 'utf8')).toContain('ETH/USDT');
});

test('fetchableRanges(): finds holes of each interval', async () => {
  const { sql } = await freshDatabase();
  await sql`
    insert into instruments (market, symbol, exchange_symbol, base, quote, status, table_name)
    values ('spot', 'BTC/USDT', 'BTCUSDT', 'BTC', 'USDT', 'active', 'btc_usdt')`;
  const instrument = (await listInstruments(sql))[0]!;
  const range = { fromMs: Date.parse('2024-01-01'), toMs: Date.parse('2024-04-01') };
  for (const interval of INTERVALS)
    expect(await fetchableRanges(sql, { instrument, interval }, range), interval).toHaveLength(1);
});
