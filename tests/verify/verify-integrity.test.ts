import { describe, expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { freshDatabase } from '../support/database.ts';
import { RECORDINGS, recordedOutage } from '../support/recordings.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';
import { HOURS, type JsonFinding, prepareStore } from './support.ts';

const hours = prepareStore(HOURS);

describe('verify', () => {
  test('reports that nothing is wrong, and exits with 0', async () => {
    const { run } = await hours();
    const verify = (...words: string[]) => run('verify-integrity', '--to', HOURS.until, ...words);
    const result = await verify();
    expect(result.exitCode).toBe(EXIT.done);
    expect(result.stdout).toBe(
      '1 series, 1,656 candles: complete, no duplicates, no impossible values\n',
    );
    expect((await verify('--quiet')).stdout).toBe('');
    expect((await verify('--deep', '--compare', '20')).exitCode).toBe(EXIT.done);
  });

  test('prints a table per series, worst first, in UTC, 80 columns wide', async () => {
    const { sql, run } = await hours();
    await sql`delete from klines where open_time >= '2024-02-20' and open_time < '2024-02-20 03:00'`;
    await sql`update klines set open_time = open_time + interval '14.789 s' where open_time = '2024-03-01'`;
    const verify = (...words: string[]) => run('verify-integrity', '--to', HOURS.until, ...words);
    expect((await verify()).stdout).toBe(`BTC/USDT 1h  1,653 candles
  severity  check     count  first
  error     missing       3  2024-02-20 to 03:00 (3)
  warning   off-grid      1  2024-03-01T00:00:14.789Z opens 00:00:14.789, wante…

1 series, 1,653 candles: 1 error; 1 warning
`);
    expect(
      (await verify('--repair')).stdout,
    ).toBe(`BTC/USDT 1h: 3 filled, 1 replaced, 1 extra removed
1 series, 1,656 candles: complete, no duplicates, no impossible values
`);
  });

  test('checks only the chosen symbol, interval and open times', async () => {
    const { sql, run, verify } = await hours();
    await sql`delete from klines_archive where open_time = '2024-01-10'`;
    await sql`update klines set volume = -1 where open_time = '2024-02-20'`;
    expect((await verify('--interval', '1m')).exitCode).toBe(EXIT.done);
    expect((await verify('--symbol', 'btc/usdt')).exitCode).toBe(EXIT.findings);
    expect((await verify('--from', '2024-02-20')).found).toEqual(['1h negative-volume 1']);
    expect((await verify('--from', '2024-02-20T01:00Z')).found).toEqual([]);
    const unknown = await run('verify-integrity', '--symbol', 'ETH/USDT');
    expect(unknown.exitCode).toBe(EXIT.data);
    expect(unknown.stderr).toContain('Not registered: ETH/USDT');
  });

  test('refuses options that contradict each other or are out of range', async () => {
    const refused = async (...words: string[]) => {
      const result = await runScript('verify-integrity', ['--to', HOURS.until, ...words]);
      expect(result.exitCode).toBe(EXIT.usage);
      return result.stderr;
    };
    expect(await refused('--from', '2024-04-01')).toContain('is not before --to');
    expect(await refused('--compare', '0')).toContain('Expected a whole number from 1');
    expect(await refused('--fail-on', 'info')).toContain('Expected error or warning');
  });
});

test('verify: reports the recorded outage as a confirmed gap, and nothing else', async () => {
  const { since, until, days } = recordedOutage();
  const fake = await startExchange({ recordings: RECORDINGS, nowMs: Date.UTC(2025, 5, 1) });
  const { url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  for (const interval of ['1m', '1h']) {
    const range = ['--since', since, '--until', until, '--source', 'bulk'];
    await runScript(
      'fetch-history',
      ['BTC/USDT', 'ETH/USDT', '--interval', interval, ...range],
      env,
    );
  }
  await runScript('archive', [String(Math.floor(days / 2)), '--as-of', until], env);
  const verify = async (...words: string[]) => {
    const result = await runScript('verify-integrity', ['--to', until, '--json', ...words], env);
    const { findings, candles } = JSON.parse(result.stdout);
    return {
      candles,
      exitCode: result.exitCode,
      found: findings
        .map(
          (each: JsonFinding & { symbol: string }) =>
            `${each.severity} ${each.symbol} ${each.interval} ${each.check} ${each.count} ${each.examples[0]}`,
        )
        .sort(),
    };
  };
  const flat = (interval: string, count: number) =>
    ['BTC', 'ETH'].map(
      (base) => `info ${base}/USDT ${interval} flat ${count} 2023-03-24 to 2023-03-25 (${count})`,
    );
  const outage = [
    ...['BTC', 'ETH'].flatMap((base) => [
      `info ${base}/USDT 1h confirmed-gap 1 2023-03-24 13:00 to 14:00 (1)`,
      `info ${base}/USDT 1m confirmed-gap 80 2023-03-24 12:40 to 14:00 (80)`,
    ]),
    ...flat('1m', 72),
    ...flat('1h', 1),
  ].sort();
  const before = await verify();
  expect(before.candles).toBe(2 * (days * (1440 + 24) - 80 - 1));
  // The files alone show it, since only they were asked.
  expect(before.found).toEqual(outage);
  expect(before.exitCode).toBe(EXIT.done);
  const after = await verify('--repair');
  expect(after.found).toEqual(outage);
  expect(after.exitCode).toBe(EXIT.done);
  expect((await verify('--deep', '--compare', '10')).found).toEqual(outage);
});
