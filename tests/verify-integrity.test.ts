import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../lib/errors.ts';
import { addSteps, floorToGrid, INTERVALS } from '../lib/intervals.ts';
import { freshDatabase } from './support/database.ts';
import { type FakeOptions, startFakeBinance } from './support/fake-binance/server.ts';
import { fetchReference } from './support/reference.ts';
import { runScript } from './support/script.ts';

const UNTIL = '2024-03-10';

interface JsonFinding {
  interval: string;
  check: string;
  severity: string;
  isPublished: boolean;
  count: number;
  examples: string[];
}

/** Ten weeks of 1h candles of BTC/USDT, all but the last 30 days of them archived. */
async function setUp(options: FakeOptions = {}) {
  const fake = await startFakeBinance({ nowMs: Date.UTC(2024, 2, 12), ...options });
  onTestFinished(() => fake.close());
  const database = await freshDatabase();
  const env = { DATABASE_URL: database.url, ...fake.env };
  const { expectComplete } = await fetchReference(database, fake, '2024-01-01', UNTIL);
  await runScript('archive', ['30', '--as-of', UNTIL], env);
  const verify = (...words: string[]) =>
    runScript('verify-integrity', ['--to', UNTIL, ...words], env);
  /** Findings as `check count`. */
  const findings = async (...words: string[]) => {
    const result = await verify('--json', ...words);
    const json = JSON.parse(result.stdout);
    const all: JsonFinding[] = json.findings;
    return {
      exitCode: result.exitCode,
      all,
      found: all
        .map((each) => `${each.check}${each.isPublished ? ' published' : ''} ${each.count}`)
        .sort(),
      examples: all.flatMap((each) => each.examples),
      repaired: json.repaired,
    };
  };
  return { fake, database, sql: database.sql, env, verify, findings, expectComplete };
}

test('a store in order: exit 0, and it says so', async () => {
  const { verify } = await setUp();
  const result = await verify();
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stdout).toBe('1 series, 1,656 candles: every one there, once, and possible\n');
  expect((await verify('--quiet')).stdout).toBe('');
  expect((await verify('--deep', '--compare', '20')).exitCode).toBe(EXIT.done);
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
    '2024-01-10 to 01:00 (1)',
    '2024-02-08 23:00 to 2024-02-09 01:00 (2)',
    '2024-02-20 to 03:00 (3)',
  ]);
});

test('a candle in both tiers, one that is not closed and impossible prices are found', async () => {
  const { sql, findings } = await setUp();
  await sql`insert into klines_archive select * from klines where open_time in ('2024-02-20', '2024-02-21')`;
  await sql`update klines set close_time = '2100-01-01' where open_time = '2024-03-01'`;
  await sql`update klines set high_price = low_price / 1.2 where open_time = '2024-03-02'`;
  await sql`update klines_archive set low_price = high_price * 1.2 where open_time = '2024-01-02'`;
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
  const result = await verify('--from', '2024-02-09');
  expect(result.exitCode).toBe(EXIT.findings);
  expect(result.stdout).toMatch(/archive-shape +1 +column 16 is note text, wanted none/);
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

test('the grid in SQL is the grid of lib/intervals', async () => {
  const { sql } = await setUp();
  for (const interval of INTERVALS) {
    for (const text of [
      '1970-01-08T03:04:05.678Z',
      '2024-02-29T23:59:59.999Z',
      '2023-12-31T00:00:00Z',
    ]) {
      const slotMs = floorToGrid(interval, Date.parse(text));
      const [row] = await sql`
        select slot_of(${interval}, ${text}::timestamptz) as slot,
          next_slot(${interval}, slot_of(${interval}, ${text}::timestamptz)) as next`;
      expect([interval, row?.slot.getTime(), row?.next.getTime()]).toEqual([
        interval,
        slotMs,
        addSteps(interval, slotMs, 1),
      ]);
    }
  }
});
