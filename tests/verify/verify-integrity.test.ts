import { expect, onTestFinished, test } from 'vitest';
import { readColumns } from '../../lib/archive/tables.ts';
import { EXIT } from '../../lib/base/errors.ts';
import { addSteps, floorToGrid, INTERVALS } from '../../lib/market/intervals.ts';
import { withInstrumentLock } from '../../lib/store/locks.ts';
import { freshDatabase } from '../support/database.ts';
import { type FakeOptions, startFakeBinance } from '../support/fake-binance/server.ts';
import { fetchReference } from '../support/reference.ts';
import { runScript } from '../support/script.ts';
import { hasRecordings, RECORDINGS } from '../support/stored.ts';

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

test('what the exchange published odd is asked once, kept, and told as published from then on', async () => {
  const { fake, sql, findings, verify, expectComplete } = await setUp();
  const times = ['2024-01-03 05:00Z', '2024-02-20 05:00Z', '2024-02-22 07:00Z'];
  // The exchange has these, and so has the store.
  fake.oddities.set(
    Date.parse(times[0]!),
    (row) => row.with(4, `${Number(row[2]) + 1}`) as typeof row,
  );
  fake.oddities.set(Date.parse(times[1]!), (row) => row.with(5, '-3') as typeof row);
  fake.oddities.set(Date.parse(times[2]!), (row) => row.with(0, row[0] + 14_789) as typeof row);
  for (const tier of ['klines', 'klines_archive']) {
    await sql`update ${sql(tier)} set close_price = high_price + 1 where open_time = ${times[0]!}`;
    await sql`update ${sql(tier)} set volume = -3 where open_time = ${times[1]!}`;
    await sql`update ${sql(tier)} set open_time = open_time + interval '14.789 s' where open_time = ${times[2]!}`;
  }
  const before = await findings();
  expect(before.found).toEqual(['impossible-ohlc 1', 'negative-volume 1', 'off-grid 1']);
  const repaired = await findings('--repair');
  const published = [
    'impossible-ohlc published 1',
    'negative-volume published 1',
    'off-grid published 1',
  ];
  expect(repaired.found).toEqual(published);
  expect(repaired.exitCode).toBe(EXIT.done);
  expect(repaired.all.map((each) => each.severity)).toEqual(['info', 'info', 'info']);
  expect(repaired.repaired).toMatchObject([{ asPublished: 3, replaced: 0, removed: 0, filled: 0 }]);

  fake.requests = [];
  const again = await findings('--repair', '--fail-on', 'warning');
  expect(again.found).toEqual(published);
  expect(again.exitCode).toBe(EXIT.done);
  expect(fake.klinesRequests()).toEqual([]);
  expect((await verify()).stdout).toContain(
    'every one there, once, and possible; 3 odd as published',
  );

  // Odd in another way than published: that is ours again, and the exchange has corrected the rest.
  fake.oddities.clear();
  await sql`update klines set volume = -4 where open_time = ${times[1]!}`;
  expect((await findings()).found).toEqual([
    'impossible-ohlc published 1',
    'negative-volume 1',
    'off-grid published 1',
  ]);
  await sql`delete from published_oddities`;
  expect((await findings('--repair')).found).toEqual([]);
  await expectComplete();
});

test('what the exchange does not have becomes a gap; what it no longer has stays', async () => {
  const { fake, sql, findings, expectComplete } = await setUp();
  const lost = { fromMs: Date.parse('2024-01-20T03:00Z'), toMs: Date.parse('2024-01-20T06:00Z') };
  const odd = { fromMs: Date.parse('2024-02-20T03:00Z'), toMs: Date.parse('2024-02-20T04:00Z') };
  const symbol = fake.symbols.find((each) => each.market === 'spot' && each.symbol === 'BTCUSDT')!;
  symbol.gaps = [lost, odd];
  await sql`delete from klines_archive where open_time >= '2024-01-20 03:00Z' and open_time < '2024-01-20 06:00Z'`;
  await sql`update klines set low_price = high_price * 1.1 where open_time = '2024-02-20 03:00Z'`;
  const first = await findings('--repair');
  expect(first.found).toEqual(['confirmed-gap 3', 'impossible-ohlc 1']);
  expect(first.exitCode).toBe(EXIT.findings);
  const [gap] = await sql`select from_time, to_time, asked_at from confirmed_gaps`;
  expect([gap?.from_time.getTime(), gap?.to_time.getTime()]).toEqual([lost.fromMs, lost.toMs]);
  expect((await findings('--repair')).repaired).toEqual([]);

  symbol.gaps = [];
  await sql`delete from confirmed_gaps`;
  expect((await findings('--repair', '--deep')).found).toEqual([]);
  await expectComplete();
});

test('an answer that is no candle, or not closed, replaces nothing', async () => {
  const { fake, sql, findings } = await setUp();
  await sql`update klines set volume = -1 where open_time = '2024-02-20 03:00Z'`;
  fake.fail({ kind: 'garbage', times: 9, mutate: (rows) => rows.map((row) => row.with(1, '0')) });
  const result = await findings('--repair');
  expect(result.found).toEqual(['negative-volume 1']);
  const [row] = await sql`select volume from klines where open_time = '2024-02-20 03:00Z'`;
  expect(row?.volume).toBe('-1.00000000');
});

test('--compare lists the fields that differ and where the candle came from; --repair takes them over', async () => {
  const { fake, sql, env, findings, expectComplete } = await setUp();
  expect((await findings('--compare', '50')).found).toEqual([]);
  await sql`update klines set volume = volume + 0.00000001, trades_count = 7`;
  await sql`delete from klines where open_time <> '2024-02-20'`;
  const words = ['--from', '2024-02-20', '--to', '2024-02-20T01:00Z'];
  const compared = JSON.parse(
    (await runScript('verify-integrity', ['--json', '--compare', '5', ...words], env)).stdout,
  );
  expect(compared.findings).toHaveLength(1);
  expect(compared.findings[0]).toMatchObject({ check: 'differs', severity: 'error', count: 1 });
  expect(compared.findings[0].examples[0]).toMatch(
    /^2024-02-20 volume \S+, exchange \S+, trades 7, exchange \d+ \(from rest\)$/,
  );
  await runScript('verify-integrity', ['--compare', '5', '--repair', ...words], env);
  const [row] = await sql`select trades_count from klines`;
  expect(row?.trades_count).not.toBe(7);
  await runScript(
    'fetch-history',
    ['BTC/USDT', '--interval', '1h', '--since', '2024-01-01', '--until', UNTIL],
    env,
  );
  await expectComplete();
  expect(fake.klinesRequests().length).toBeGreaterThan(0);
});

test('--deep finds an archived candle that looks right and is not what was moved there', async () => {
  const { sql, verify, findings, expectComplete } = await setUp();
  await sql`update klines_archive set volume = volume + 0.00000001 where open_time = '2024-01-10'`;
  await sql`update klines_archive set updated_at = now() where open_time = '2024-01-11'`;
  expect((await verify()).exitCode).toBe(EXIT.done);
  const deep = await findings('--deep');
  expect(deep.found).toEqual(['batch-hash 1']);
  expect(deep.examples[0]).toContain('other content than the');
  const repaired = await findings('--deep', '--repair');
  expect(repaired.found).toEqual([]);
  expect(repaired.repaired).toMatchObject([{ replaced: 1, sealed: 1 }]);
  await expectComplete();
  expect((await findings('--deep')).found).toEqual([]);
  const [noted] = await sql`select open_time, tier, was, became, source from repairs`;
  expect(noted).toMatchObject({ tier: 'archive', source: 'rest' });
  expect(Number(noted?.was.volume) - Number(noted?.became.volume)).toBeCloseTo(1e-8, 10);

  // A seal is no pardon for what comes after it.
  await sql`update klines_archive set volume = volume + 0.00000001 where open_time = '2024-01-12'`;
  expect((await findings('--deep')).found).toEqual(['batch-hash 1']);
});

test('--deep holds after archive and restore went to and fro, and finds what was tampered then', async () => {
  const { sql, env, findings, expectComplete } = await setUp();
  const run = async (name: string, ...words: string[]) => {
    const result = await runScript(name, [...words, '--json'], env);
    expect([name, result.exitCode]).toEqual([name, EXIT.done]);
    return JSON.parse(result.stdout).rows;
  };
  const expectClean = async () => expect((await findings('--deep')).found).toEqual([]);
  const archive = (days: string) => run('archive', days, '--as-of', UNTIL);
  expect(await archive('20')).toBe(240);
  await expectClean();
  await run('restore', 'BTC/USDT', '--from', '2024-01-10T05:00Z', '--to', '2024-02-12T07:00Z');
  await expectClean();
  await sql`delete from restored_ranges`;
  // Fetched anew while it was hot: the archive's own hashes must follow.
  await sql`delete from klines where open_time >= '2024-01-20' and open_time < '2024-01-20 03:00Z'`;
  expect(await archive('20')).toBe(33 * 24 + 2 - 3);
  expect((await findings('--deep')).found).toEqual(['missing 3']);
  const range = ['--since', '2024-01-20', '--until', '2024-01-20T03:00Z'];
  await runScript('fetch-history', ['BTC/USDT', '--interval', '1h', ...range], env);
  expect(await archive('20')).toBe(3);
  await expectClean();
  await expectComplete();

  await sql`update klines_archive set volume = volume + 0.00000001 where open_time = '2024-01-20 01:00Z'`;
  const tampered = await findings('--deep');
  expect(tampered.exitCode).toBe(EXIT.findings);
  expect(tampered.found).toEqual(['batch-hash 1']);
  expect(tampered.examples[0]).toContain('other content than the');
});

test('a stale series warns; one that is delisted, and one whose gap is confirmed, does not', async () => {
  const { sql, env } = await setUp();
  const found = async (...words: string[]) => {
    const result = await runScript('verify-integrity', ['--json', ...words], env);
    const { findings } = JSON.parse(result.stdout);
    return [
      result.exitCode,
      ...findings.map((each: JsonFinding) => `${each.severity} ${each.check}`),
    ];
  };
  expect(await found()).toEqual([EXIT.done, 'warning stale']);
  expect(await found('--fail-on', 'warning')).toEqual([EXIT.findings, 'warning stale']);
  expect(await found('--from', '7d')).toEqual([EXIT.done, 'warning stale']);
  expect(await found('--to', '2024-03-01')).toEqual([EXIT.done]);
  await sql`update instruments set status = 'delisted', delisted_at = '2024-03-10 12:00Z'`;
  expect(await found()).toEqual([EXIT.done]);
  await sql`delete from klines where open_time >= '2024-03-07'`;
  expect(await found()).toEqual([EXIT.done, 'warning stale']);
});

test('a lost end, or all of a series, is known from what was archived', async () => {
  const { sql, findings, expectComplete } = await setUp();
  await sql`delete from klines_archive where open_time < '2024-01-05'`;
  expect((await findings()).found).toEqual(['missing 96']);
  await sql`truncate klines_archive, klines`;
  const emptied = await findings();
  expect(emptied.found).toEqual(['missing 936']);
  expect((await findings('--repair')).found).toEqual([]);
  await expectComplete().catch(() => {});
  const [count] = await sql`select count(*)::int as rows from all_klines`;
  expect(count?.rows).toBe(936);
});

test('a candle stored by the wrong tier warns, a restored one does not', async () => {
  const { sql, findings } = await setUp();
  await sql`
    with moved as (delete from klines_archive where open_time = '2024-01-10' returning *)
    insert into klines select * from moved`;
  expect((await findings()).found).toEqual(['tier-boundary 1']);
  expect((await findings()).exitCode).toBe(EXIT.done);
  const { row_hash } = await readColumns(sql, 'klines_archive');
  await sql`
    insert into archive_batches (run_id, instrument_id, interval, from_time, to_time, moved_rows, content_hash, direction)
    select (select min(id) from archive_runs), instrument_id, interval, open_time, open_time + interval '1 hour', 1,
      ${sql.unsafe(row_hash.text)}, 'restore'
    from klines where open_time = '2024-01-10'`;
  expect((await findings('--deep')).found).toEqual([]);
});

test('an interval that Binance does not have is found in either tier', async () => {
  const { sql, findings } = await setUp();
  await sql`update klines_archive set interval = '7h' where open_time = '2024-01-01'`;
  await sql`update klines set interval = '1H' where open_time = '2024-03-01'`;
  const { found, examples } = await findings();
  expect(found).toEqual(['missing 2', 'unknown-interval 2']);
  expect(examples.join()).toContain('"7h" in klines_archive');
});

test('candles that another run is about to bring, or moves, are no defect', async () => {
  const { sql, database, findings } = await setUp();
  const mover = database.openSession();
  await mover`begin isolation level repeatable read`;
  await mover`delete from klines where open_time < '2024-02-12'`;
  expect((await findings()).found).toEqual([]);
  await mover`rollback`;

  await sql`delete from klines where open_time = '2024-02-20'`;
  expect((await findings()).exitCode).toBe(EXIT.findings);
  await mover`set application_name = 'klinekeep fetch'`;
  const [instrument] = await sql`select id from instruments`;
  await withInstrumentLock(mover, instrument?.id, async () => {
    const busy = await findings('--repair');
    expect(busy.found).toEqual(['missing 1']);
    expect(busy.all[0]?.severity).toBe('info');
    expect(busy.examples[0]).toContain('fetch-history works on it');
    expect(busy.exitCode).toBe(EXIT.later);
  });
  await mover.end();
  expect((await findings('--repair')).found).toEqual([]);
});

test('--from looks only at that range', async () => {
  const { sql, findings } = await setUp();
  await sql`delete from klines_archive where open_time = '2024-01-10'`;
  await sql`update klines set volume = -1 where open_time = '2024-02-20'`;
  expect((await findings('--from', '2024-02-20')).found).toEqual(['negative-volume 1']);
  expect((await findings('--from', '2024-02-20T01:00Z')).found).toEqual([]);
});

test('options that make no sense are refused', async () => {
  const { verify } = await setUp();
  expect((await verify('--from', '2024-04-01')).stderr).toContain('is not before --to');
  expect((await verify('--compare', '0')).exitCode).toBe(EXIT.usage);
  expect((await verify('--fail-on', 'info')).stderr).toContain('wanted error or warning');
});

test('for a person: a table a series, worst first, in UTC, eighty columns wide', async () => {
  const { sql, verify } = await setUp();
  await sql`delete from klines where open_time >= '2024-02-20' and open_time < '2024-02-20 03:00'`;
  await sql`update klines set open_time = open_time + interval '14.789 s' where open_time = '2024-03-01'`;
  const { stdout } = await verify();
  expect(stdout).toBe(`BTC/USDT 1h  1,653 candles
  severity  check     count  first
  error     missing       3  2024-02-20 to 03:00 (3)
  warning   off-grid      1  2024-03-01T00:00:14.789Z opens 00:00:14.789, wante…

1 series, 1,653 candles: 1 error; 1 warning
`);
  expect(
    (await verify('--repair')).stdout,
  ).toBe(`BTC/USDT 1h: 3 filled, 1 replaced, 1 that did not belong there removed
1 series, 1,656 candles: every one there, once, and possible
`);
});

test.skipIf(!hasRecordings)(
  'on the recordings: the outage of 2023-03-24, confirmed after a repair, and nothing else',
  async () => {
    const fake = await startFakeBinance({ recordings: RECORDINGS, nowMs: Date.UTC(2025, 5, 1) });
    onTestFinished(() => fake.close());
    const { url } = await freshDatabase();
    const env = { DATABASE_URL: url, ...fake.env };
    for (const interval of ['1m', '1h']) {
      const range = ['--since', '2023-02-15', '--until', '2023-04-16', '--source', 'bulk'];
      await runScript(
        'fetch-history',
        ['BTC/USDT', 'ETH/USDT', '--interval', interval, ...range],
        env,
      );
    }
    await runScript('archive', ['30', '--as-of', '2023-04-16'], env);
    const verify = async (...words: string[]) => {
      const result = await runScript(
        'verify-integrity',
        ['--to', '2023-04-16', '--json', ...words],
        env,
      );
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
    const outage = (kind: string) =>
      [
        ...['BTC', 'ETH'].flatMap((base) => [
          `${kind} ${base}/USDT 1h ${kind === 'error' ? 'missing' : 'confirmed-gap'} 1 2023-03-24 13:00 to 14:00 (1)`,
          `${kind} ${base}/USDT 1m ${kind === 'error' ? 'missing' : 'confirmed-gap'} 80 2023-03-24 12:40 to 14:00 (80)`,
        ]),
        ...flat('1m', 72),
        ...flat('1h', 1),
      ].sort();
    const before = await verify();
    expect(before.candles).toBe(2 * (86_320 + 1439));
    expect(before.found).toEqual(outage('error'));
    expect(before.exitCode).toBe(EXIT.findings);
    const after = await verify('--repair');
    expect(after.found).toEqual(outage('info'));
    expect(after.exitCode).toBe(EXIT.done);
    expect((await verify('--deep', '--compare', '10')).found).toEqual(outage('info'));
  },
);
