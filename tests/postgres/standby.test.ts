import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import { runScript, startScript } from '../support/script.ts';
import { startPair } from '../support/standby.ts';
import { startExchange } from '../support/store.ts';
import { makeCandles } from '../support/tiers.ts';

test('a hot standby: verbs that read work, those that write say why not', async () => {
  const { primary, standby, standbyUrl, catchUp } = await startPair();
  await makeCandles(primary, { rows: 40_000, from: '2024-01-01T00:00Z' });
  await runScript('archive', ['1', '--as-of', '2024-01-03'], { DATABASE_URL: primary.url });
  await primary.sql`create role reader login password 'secret'`;
  await primary.sql`grant select on all tables in schema public to reader`;
  await catchUp();

  const report = join(tmpdir(), `klinekeep-standby-${process.pid}.html`);
  onTestFinished(() => rm(report, { force: true }));
  const asReader = new URL(standbyUrl);
  [asReader.username, asReader.password] = ['reader', 'secret'];
  const readers: [script: string, words: string[]][] = [
    ['candles', ['BTC/USDT', '1h', '--from', '2024-01-01']],
    ['gaps', ['BTC/USDT']],
    ['status', []],
    ['metrics', []],
    ['report', ['--output', report]],
    ['archive-log', []],
    ['repairs', []],
    ['verify-integrity', ['--deep', '--to', '2024-01-20']],
    ['archive', ['1', '--dry-run']],
  ];
  for (const url of [standbyUrl, asReader.href]) {
    for (const [script, words] of readers) {
      const result = await runScript(script, words, { DATABASE_URL: url });
      expect(result.exitCode, `${script}: ${result.stderr}`).toBe(EXIT.done);
    }
    // The exchange has other candles than those that were made up here.
    const fake = await startExchange({ nowMs: Date.UTC(2024, 1, 10) });
    await publish(fake, '2024-01-06', { interval: '1m' });
    const range = ['--from', '2024-01-05', '--to', '2024-01-07'];
    const compared = await runScript('verify-integrity', ['--files', ...range], {
      DATABASE_URL: url,
      ...fake.env,
    });
    expect(compared.stdout).toMatch(/differs-from-file +1,440/);
    expect(compared.exitCode).toBe(EXIT.findings);
  }

  const writers: [script: string, words: string[]][] = [
    ['fetch-history', ['BTC/USDT']],
    ['update-klines', []],
    ['archive', ['1']],
    ['verify-integrity', ['--repair']],
    ['db-adopt', ['some_table', '--symbol', 'BTC/USDT', '--interval', '1m']],
  ];
  for (const [script, words] of writers) {
    const result = await runScript(script, words, { DATABASE_URL: standbyUrl });
    expect({ script, ...result }).toMatchObject({ exitCode: EXIT.config, stdout: '' });
    expect(result.stderr).toContain('this server is a standby');
  }

  // A query that is in the way of what the primary has removed.
  const slow = startScript(
    'candles',
    ['BTC/USDT', '1m', '--from', '2024-01-01', '--format', 'csv'],
    {
      DATABASE_URL: standbyUrl,
    },
  );
  const isReading = async () => {
    const [row] = await standby.sql`
      select count(*)::int as found from pg_stat_activity
      where application_name = 'klinekeep candles' and query like '%open_price%' and backend_xmin is not null`;
    return row?.found > 0;
  };
  while (!(await isReading())) await sleep(5);
  slow.process.kill('SIGSTOP');
  await primary.sql`delete from klines where open_time > '2024-01-25'`;
  await primary.sql`vacuum klines`;
  await catchUp();
  slow.process.kill('SIGCONT');
  const cancelled = await slow.result;
  // Between two batches of rows it ends the connection, within one only the query.
  expect([EXIT.later, EXIT.unavailable]).toContain(cancelled.exitCode);
  expect(cancelled.stderr).toContain('hot_standby_feedback');

  await primary.sql`delete from schema_files where name = '009_sharing.sql'`;
  await catchUp();
  const pending = await runScript('status', [], { DATABASE_URL: standbyUrl });
  expect(pending.exitCode).toBe(EXIT.config);
  expect(pending.stderr).toContain(
    'Schema files are pending (009_sharing.sql), and this server is a standby',
  );
});
