import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../lib/errors.ts';
import { freshDatabase } from './support/database.ts';
import { startFakeBinance } from './support/fake-binance/server.ts';
import { fetchReference } from './support/reference.ts';
import { runScript } from './support/script.ts';

async function setUp() {
  const fake = await startFakeBinance({ nowMs: Date.UTC(2024, 2, 12) });
  onTestFinished(() => fake.close());
  const database = await freshDatabase();
  const env = { DATABASE_URL: database.url };
  await fetchReference(database, fake, '2024-01-01', '2024-03-10');
  await runScript('archive', ['30', '--as-of', '2024-03-10'], env);
  const verify = (...words: string[]) => runScript('verify-integrity', words, env);
  /** Findings as `check count`. */
  const findings = async () => {
    const result = await verify('--json');
    const { findings } = JSON.parse(result.stdout);
    return {
      exitCode: result.exitCode,
      found: findings
        .map((each: { check: string; count: number }) => `${each.check} ${each.count}`)
        .sort(),
      examples: findings.flatMap((each: { examples: string[] }) => each.examples),
    };
  };
  return { sql: database.sql, verify, findings };
}

test('a store in order: exit 0, and it says so', async () => {
  const { verify } = await setUp();
  const result = await verify();
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stdout).toBe('1 series: nothing missing, nothing twice, nothing impossible\n');
});

test('missing candles are found in both tiers, also across the boundary between them', async () => {
  const { sql, findings } = await setUp();
  await sql`delete from klines where open_time >= '2024-02-20' and open_time < '2024-02-20 03:00'`;
  await sql`delete from klines_archive where open_time = '2024-01-10'`;
  const [edge] = await sql`select min(open_time) as first from klines`;
  await sql`delete from klines where open_time = ${edge!.first}`;
  await sql`delete from klines_archive where open_time = ${new Date(edge!.first.getTime() - 3_600_000)}`;
  const { exitCode, found, examples } = await findings();
  expect(exitCode).toBe(EXIT.findings);
  expect(found).toEqual(['missing 6']);
  expect(examples).toEqual([
    '1 from 2024-01-10T00:00:00Z to 2024-01-10T01:00:00Z',
    '2 from 2024-02-08T23:00:00Z to 2024-02-09T01:00:00Z',
    '3 from 2024-02-20T00:00:00Z to 2024-02-20T03:00:00Z',
  ]);
});

test('a candle in both tiers, one that is not closed and impossible prices are found', async () => {
  const { sql, findings } = await setUp();
  await sql`insert into klines_archive select * from klines where open_time in ('2024-02-20', '2024-02-21')`;
  await sql`update klines set close_time = '2100-01-01' where open_time = '2024-03-01'`;
  await sql`update klines set high_price = low_price / 2 where open_time = '2024-03-02'`;
  await sql`update klines_archive set low_price = high_price * 2 where open_time = '2024-01-02'`;
  const { exitCode, found } = await findings();
  expect(exitCode).toBe(EXIT.findings);
  expect(found).toEqual(['impossible-ohlc 2', 'in-both-tiers 2', 'not-closed 1']);
});

test('an archive table that drifted from the shape of its candle table is found', async () => {
  const { sql, verify } = await setUp();
  await sql`alter table btc_usdt add constraint extra check (true)`;
  expect((await verify()).exitCode).toBe(EXIT.done);
  await sql`alter table klines_archive detach partition btc_usdt_archive`;
  await sql`alter table btc_usdt_archive add column note text`;
  const result = await verify();
  expect(result.exitCode).toBe(EXIT.findings);
  expect(result.stdout).toMatch(
    /BTC\/USDT +- +archive-shape +1 +column 16 is note text, wanted none/,
  );
});

test('a candle off the grid stands for the slot it opens in', async () => {
  const { sql, verify } = await setUp();
  await sql`update klines set open_time = open_time + '28 minutes 14.789 seconds'
    where open_time >= '2024-02-20' and open_time < '2024-02-22'`;
  expect((await verify()).exitCode).toBe(EXIT.done);
});

test('--symbol and --interval narrow it; a symbol that is not registered is named', async () => {
  const { sql, verify } = await setUp();
  await sql`delete from klines where open_time = '2024-02-20'`;
  expect((await verify('--interval', '1m')).exitCode).toBe(EXIT.done);
  expect((await verify('--symbol', 'btc/usdt')).exitCode).toBe(EXIT.findings);
  const unknown = await verify('--symbol', 'ETH/USDT');
  expect(unknown.exitCode).toBe(EXIT.data);
  expect(unknown.stderr).toContain('Not registered: ETH/USDT');
});
