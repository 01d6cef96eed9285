import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { runScript } from '../support/script.ts';
import { startStore } from '../support/store.ts';

const MINUTE_MS = 60_000;

test("verify: judges by the exchange's clock which candles have closed", async () => {
  const { fake, database, sql, run } = await startStore({ nowMs: Date.now() + 10 * MINUTE_MS });
  await run('fetch-history', 'BTC/USDT', '--interval', '1m', '--since', '2h', '--source', 'rest');
  await run('update-klines');
  const verify = async (words: string[], env = fake.env) => {
    const result = await runScript('verify-integrity', [...words, '--json'], {
      DATABASE_URL: database.url,
      ...env,
    });
    const { findings } = JSON.parse(result.stdout);
    return { ...result, found: findings.map((each: { check: string }) => each.check) };
  };
  for (const words of [[], ['--fail-on', 'warning'], ['--repair']])
    expect(await verify(words)).toMatchObject({ exitCode: EXIT.done, found: [], stderr: '' });
  expect(await sql`select from published_oddities`).toHaveLength(0);

  // Without the exchange, the database's clock decides.
  const offline = await verify([], {});
  expect(offline).toMatchObject({ exitCode: EXIT.findings, found: ['not-closed'] });
  expect(offline.stderr).toContain("Cannot reach Binance's clock: the database's clock decides");

  // A candle that has not closed at the exchange either is still an error.
  const later = new Date(fake.nowMs! + 5 * MINUTE_MS);
  await sql`
    update klines set close_time = ${later} where open_time = (select max(open_time) from klines)`;
  expect((await verify([])).found).toEqual(['not-closed']);
});

test("verify: judges by the exchange's clock which series are stale", async () => {
  const { fake, sql, run } = await startStore({ nowMs: Date.now() - 60 * MINUTE_MS });
  await run('fetch-history', 'BTC/USDT', '--interval', '1m', '--since', '4h', '--source', 'rest');
  await run('update-klines');
  const verify = () => run('verify-integrity', '--fail-on', 'warning');
  fake.requests = [];
  expect(await verify()).toMatchObject({ exitCode: EXIT.done });
  expect(fake.requests.map(({ path }) => path)).toEqual(['time']);
  await sql`delete from klines where open_time > now() - interval '90 minutes'`;
  expect((await verify()).stdout).toContain('stale');
});

test("verify: does not ask the exchange's clock when it makes no difference", async () => {
  const { fake, run } = await startStore();
  await run('fetch-history', 'BTC/USDT', '--interval', '1h', '--since', '2d', '--source', 'rest');
  await run('update-klines');
  fake.requests = [];
  expect(await run('verify-integrity')).toMatchObject({ exitCode: EXIT.done });
  expect(fake.requests).toEqual([]);
});
