import { describe, expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { TimeRange } from '../../lib/market/ranges.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import type { FakeSymbol } from '../support/fake-binance/symbols.ts';
import { startStore } from '../support/store.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const HOUR = 3_600_000;
const at = (time: string) => Date.parse(`2024-${time}Z`);
const GAP: TimeRange = { fromMs: at('01-05T03:00'), toMs: at('01-05T09:00') };

/** A store of BTC/USDT in hours, of January and February 2024. */
async function setUp(symbol: Partial<FakeSymbol> = {}) {
  const btc: FakeSymbol = {
    ...{ market: 'spot', symbol: 'BTCUSDT', base: 'BTC', quote: 'USDT' },
    ...symbol,
  };
  const { fake, sql, env, run } = await startStore({ nowMs: NOW, symbols: [btc] });
  const fetch = (...words: string[]) =>
    run(
      'fetch-history',
      ...['BTC/USDT', '--interval', '1h'],
      ...(words.includes('--since') ? [] : ['--since', '2024-01-01', '--until', '2024-03-01']),
      ...words,
    );
  const gaps = async (table: 'confirmed_gaps' | 'open_gaps' = 'confirmed_gaps') => {
    const rows = await sql`select from_time, to_time from ${sql(table)} order by from_time`;
    return rows.map((row) => ({ fromMs: row.from_time.getTime(), toMs: row.to_time.getTime() }));
  };
  return {
    ...{ fake, btc, sql, env, run, fetch, gaps },
    later: () => sql`
      update open_gaps
      set asked_at = asked_at - interval '5 minutes', shown_at = shown_at - interval '5 minutes'`,
    count: async () => (await sql`select count(*)::int as candles from klines`)[0]!.candles,
    lose: ({ fromMs, toMs }: TimeRange) =>
      sql`delete from klines where open_time >= ${new Date(fromMs)} and open_time < ${new Date(toMs)}`,
    /** The requests from before a gap to after it. */
    proofs: () =>
      fake.klinesRequests().filter(({ interval, limit }) => interval === '1h' && limit === 99),
  };
}

describe('a gap of REST', () => {
  test('is confirmed by two answers, five minutes apart', async () => {
    const { sql, fetch, gaps, later, proofs } = await setUp({ gaps: [GAP] });
    const rest = ['--source', 'rest'];
    expect((await fetch(...rest)).exitCode).toBe(EXIT.later);
    expect(await gaps('open_gaps')).toEqual([GAP]);
    // At once, another answer proves nothing, and none is requested.
    const { exitCode, stdout } = await fetch(...rest, '--json');
    expect(exitCode).toBe(EXIT.later);
    expect(JSON.parse(stdout).series).toMatchObject([{ missing: 6, openGaps: 6, oldOpenGaps: 6 }]);
    expect(proofs()).toHaveLength(1);
    await later();
    expect((await fetch(...rest)).exitCode).toBe(EXIT.done);
    expect(await gaps()).toEqual([GAP]);
    expect(await gaps('open_gaps')).toEqual([]);
    const [proof] = await sql`
      select shown_again_at - shown_at >= interval '5 minutes' as is_apart, file, outage from confirmed_gaps`;
    expect(proof).toEqual({ is_apart: true, file: null, outage: null });
  });

  test('that a file shows, too, is confirmed at once', async () => {
    const { fake, sql, fetch, gaps } = await setUp({ gaps: [GAP] });
    await publish(fake, '2024-01');
    await publish(fake, '2024-02');
    expect((await fetch()).exitCode).toBe(EXIT.done);
    expect(await gaps()).toEqual([GAP]);
    const [proof] = await sql`select shown_at is not null as is_shown, file from confirmed_gaps`;
    expect(proof).toEqual({ is_shown: true, file: 'BTCUSDT-1h-2024-01.zip' });
  });

  test('in which a known outage lies is confirmed at once, a longer one is not', async () => {
    const outage = { fromMs: Date.UTC(2023, 2, 24, 13), toMs: Date.UTC(2023, 2, 24, 14) };
    const longer = { fromMs: Date.UTC(2021, 7, 13, 1), toMs: Date.UTC(2021, 7, 13, 6) };
    const { fetch, gaps } = await setUp({ gaps: [outage, longer] });
    const range = ['--since', '2021-08-01', '--until', '2023-04-01'];
    expect((await fetch(...range, '--source', 'rest')).exitCode).toBe(EXIT.later);
    expect(await gaps()).toEqual([outage]);
    expect(await gaps('open_gaps')).toEqual([longer]);
  });

  test('of any length is shown by one small request', async () => {
    const long = { fromMs: at('01-05T00:00'), toMs: at('02-20T00:00') };
    const { fetch, gaps, later, proofs } = await setUp({ gaps: [long] });
    await fetch('--source', 'rest');
    await later();
    expect((await fetch('--source', 'rest')).exitCode).toBe(EXIT.done);
    expect(await gaps()).toEqual([long]);
    expect(proofs()).toMatchObject([
      { startTime: long.fromMs - HOUR, endTime: long.toMs },
      { startTime: long.fromMs - HOUR, endTime: long.toMs },
    ]);
  });

  test('is another gap when its ends have changed', async () => {
    const { btc, fetch, gaps, later } = await setUp({ gaps: [GAP] });
    await fetch('--source', 'rest');
    await later();
    const rest = { fromMs: GAP.fromMs, toMs: GAP.toMs - HOUR };
    btc.gaps = [rest];
    // One candle was filled, so the first answer was about another gap.
    expect((await fetch('--source', 'rest')).exitCode).toBe(EXIT.later);
    expect(await gaps()).toEqual([]);
    expect(await gaps('open_gaps')).toEqual([rest]);
  });
});

describe('a file', () => {
  test('that had more candles than are stored proves nothing', async () => {
    const { fake, btc, fetch, gaps, lose } = await setUp();
    const paths = [await publish(fake, '2024-01'), await publish(fake, '2024-02')];
    await fetch();
    await lose(GAP);
    btc.gaps = [GAP];
    // Otherwise they would be loaded again.
    for (const path of paths) fake.bulk.remove(path);
    expect((await fetch()).exitCode).toBe(EXIT.later);
    expect(await gaps()).toEqual([]);
  });

  test('without the neighbours proves nothing', async () => {
    const { fake, fetch, gaps } = await setUp({ gaps: [GAP] });
    // The days around the gap are missing in the file, and come from REST.
    const edit = (rows: RawRow[]) => rows.filter((row) => row[0] < at('01-04T00:00'));
    await publish(fake, '2024-01', { edit });
    await publish(fake, '2024-02');
    expect((await fetch()).exitCode).toBe(EXIT.later);
    expect(await gaps()).toEqual([]);
  });

  test('is enough with --source bulk, until REST may be asked', async () => {
    const { fake, btc, sql, run, fetch, gaps, count } = await setUp();
    const edit = (rows: RawRow[]) =>
      rows.filter((row) => row[0] < GAP.fromMs || row[0] >= GAP.toMs);
    await publish(fake, '2024-01', { edit });
    await publish(fake, '2024-02');
    const first = await fetch('--source', 'bulk');
    expect(first).toMatchObject({ exitCode: EXIT.done });
    expect(first.stdout).toContain('6 not in the bulk files');
    expect(await gaps()).toEqual([GAP]);
    const listed = JSON.parse(
      (await run('gaps', 'BTC/USDT', '--to', '2024-02-01', '--json')).stdout,
    );
    expect(listed.gaps.at(-1)).toMatchObject({
      reason: 'not in the files',
      sources: [{ source: 'BTCUSDT-1h-2024-01.zip' }],
    });
    expect((await fetch()).stdout).toContain('+6 candles');
    expect(await gaps()).toEqual([]);
    expect(await count()).toBe(60 * 24);
    expect(btc.gaps).toBeUndefined();
    expect(await sql`select from open_gaps`).toHaveLength(0);
  });

  test('is enough for a delisted symbol that REST does not know any more', async () => {
    const { fake, sql, fetch, gaps } = await setUp({ gaps: [GAP] });
    await publish(fake, '2024-01');
    await publish(fake, '2024-02');
    await sql`
      insert into instruments (market, symbol, exchange_symbol, base, quote, status, table_name)
      values ('spot', 'BTC/USDT', 'BTCUSDT', 'BTC', 'USDT', 'delisted', 'btc_usdt')`;
    fake.fail({ kind: 'invalid-symbol', times: 99 });
    const result = await fetch();
    expect(result).toMatchObject({ exitCode: EXIT.done });
    expect(await gaps()).toEqual([GAP]);
  });
});

describe('an answer', () => {
  test.each([
    ['empty', () => []],
    ['without the last row', (rows: RawRow[]) => rows.slice(0, -1)],
    ['in another order', (rows: RawRow[]) => rows.toReversed()],
    ['with a row twice', (rows: RawRow[]) => [rows[0]!, ...rows]],
  ])('that is %s shows no gap', async (_, mutate) => {
    const { fake, sql, fetch, gaps, later, lose } = await setUp();
    await fetch('--source', 'rest');
    await lose(GAP);
    for (let run = 1; run <= 3; run++) {
      // The answers to requests for the gap alone are empty.
      const isAlone = (rows: RawRow[]) =>
        rows.every((row) => row[0] >= GAP.fromMs && row[0] < GAP.toMs);
      const around = (rows: RawRow[]) =>
        rows.filter((row) => row[0] < GAP.fromMs || row[0] >= GAP.toMs);
      fake.fail({
        kind: 'garbage',
        times: 99,
        mutate: (rows) => (isAlone(rows) ? [] : mutate(around(rows))),
      });
      expect((await fetch('--source', 'rest')).exitCode).toBe(EXIT.later);
      await later();
    }
    expect(await gaps()).toEqual([]);
    expect(await sql`select from open_gaps where shown_at is not null`).toHaveLength(0);
    fake.faults.clear();
    expect((await fetch('--source', 'rest')).stdout).toContain('+6 candles');
    expect(await sql`select from open_gaps`).toHaveLength(0);
  });

  test('with candles between the neighbours fills the hole', async () => {
    const { fake, fetch, gaps, count, lose } = await setUp();
    await fetch('--source', 'rest');
    await lose({ fromMs: at('01-10T00:00'), toMs: at('01-30T00:00') });
    fake.fail({ kind: 'empty', times: 2 });
    expect(await fetch('--source', 'rest')).toMatchObject({ exitCode: EXIT.done });
    expect(await count()).toBe(60 * 24);
    expect(await gaps('open_gaps')).toEqual([]);
  });

  test('that is empty twice for a page in the middle leads to no gap', async () => {
    const { fake, sql, run } = await startStore({ nowMs: NOW });
    const pages = new Map<number, number>();
    const { faults } = fake;
    const take = faults.take.bind(faults);
    // Three pages of 15m: the answers to the second one are empty.
    const second = at('02-11T10:00');
    faults.take = (request) => {
      const { startTime = 0, limit = 0 } = request as unknown as {
        startTime?: number;
        limit?: number;
      };
      if (limit < 1000 || Math.abs(startTime - second) > HOUR) return take(request);
      const times = (pages.get(startTime) ?? 0) + 1;
      pages.set(startTime, times);
      return times <= 2 ? { kind: 'empty' } : take(request);
    };
    const words = [
      'BTC/USDT',
      '--interval',
      '15m',
      '--since',
      '2024-02-01',
      '--until',
      '2024-03-03',
    ];
    const result = await run('fetch-history', ...words, '--source', 'rest');
    // The third time after an answer had shown that there are candles.
    expect([...pages.values()]).toEqual([3]);
    expect(await sql`select from confirmed_gaps`).toHaveLength(0);
    const [stored] = await sql`select count(*)::int as candles from klines`;
    expect(stored).toEqual({ candles: 31 * 96 });
    expect(result).toMatchObject({ exitCode: EXIT.done });
  });
});

describe('the ends of a series', () => {
  test.each([
    ['first', 1],
    ['last', 2],
  ])('are downloaded although the %s page was empty twice', async (which, page) => {
    const { fake, sql, run } = await startStore({ nowMs: NOW });
    const take = fake.faults.take.bind(fake.faults);
    fake.faults.take = (request) => {
      const { startTime = 0, limit } = request as unknown as { startTime?: number; limit?: number };
      const isPage = page === 1 ? startTime === at('01-01T00:00') : startTime > at('02-10T00:00');
      return isPage && limit !== 99 && limit !== 1 && requests++ < 2
        ? { kind: 'empty' }
        : take(request);
    };
    let requests = 0;
    const words = [
      'BTC/USDT',
      '--interval',
      '1h',
      '--since',
      '2024-01-01',
      '--until',
      '2024-03-01',
    ];
    const result = await run('fetch-history', ...words, '--source', 'rest');
    expect(result, which).toMatchObject({ exitCode: EXIT.done });
    expect(requests).toBeGreaterThanOrEqual(2);
    expect(await sql`select from klines`).toHaveLength(60 * 24);
  });

  test('are no gaps, and exit with 75 only if the answers are unclear', async () => {
    const { fake, fetch, gaps } = await setUp({ endedMs: at('02-20T00:00') });
    const { exitCode, stdout } = await fetch('--source', 'rest');
    expect(exitCode).toBe(EXIT.done);
    expect(stdout).toContain('240 not at the exchange');
    fake.fail({ kind: 'empty', times: 99 });
    const unclear = await fetch('--source', 'rest');
    expect(unclear.exitCode).toBe(EXIT.later);
    expect(unclear.stdout).toContain('240 in open gaps');
    expect([await gaps(), await gaps('open_gaps')]).toEqual([[], []]);
  });
});

test('update: requests and confirms what fetch left open', async () => {
  const { run, fetch, gaps, later } = await setUp({ gaps: [GAP] });
  await fetch('--source', 'rest');
  const update = (...words: string[]) => run('update-klines', '--limit', '10', ...words);
  const first = await update('--json');
  expect(first.exitCode).toBe(EXIT.later);
  expect(JSON.parse(first.stdout)).toMatchObject({ openGaps: 6, oldOpenGaps: 6 });
  await later();
  expect(await update()).toMatchObject({ exitCode: EXIT.done });
  expect(await gaps()).toEqual([GAP]);
});

describe('verify', () => {
  test('reports open gaps as such, and exits with 75', async () => {
    const { run, fetch, gaps, later } = await setUp({ gaps: [GAP] });
    await fetch('--source', 'rest');
    const verify = async (...words: string[]) => {
      const { exitCode, stdout } = await run(
        'verify-integrity',
        '--to',
        '2024-03-01',
        '--json',
        ...words,
      );
      const { findings } = JSON.parse(stdout);
      const found = findings.map(
        ({ check, count }: { check: string; count: number }) => `${check} ${count}`,
      );
      return { exitCode, found };
    };
    expect(await verify()).toEqual({ exitCode: EXIT.later, found: ['open-gap 6'] });
    expect(await verify('--fail-on', 'warning')).toMatchObject({ exitCode: EXIT.findings });
    await later();
    expect(await verify('--repair')).toEqual({ exitCode: EXIT.done, found: ['confirmed-gap 6'] });
    expect(await gaps()).toEqual([GAP]);
  });

  test('--recheck-gaps: fills what is no gap, and starts with the oldest', async () => {
    const other = { fromMs: at('02-05T03:00'), toMs: at('02-05T06:00') };
    const { btc, sql, run, fetch, gaps, later, proofs, fake } = await setUp({ gaps: [GAP, other] });
    await fetch('--source', 'rest');
    await later();
    await fetch('--source', 'rest');
    expect(await gaps()).toEqual([GAP, other]);
    await sql`update confirmed_gaps set asked_at = now() - interval '1 day' where to_time < '2024-02-01'`;
    const recheck = async (count: string) => {
      fake.requests = [];
      const words = ['--recheck-gaps', count, '--to', '2024-03-01', '--json'];
      const { exitCode, stdout } = await run('verify-integrity', ...words);
      expect(exitCode, stdout).toBe(EXIT.done);
      return JSON.parse(stdout).rechecked;
    };
    expect(await recheck('1')).toEqual({ shown: 1, forgotten: 0, unclear: 0, filled: 0 });
    expect(proofs()).toMatchObject([{ startTime: GAP.fromMs - HOUR }]);
    btc.gaps = [GAP];
    // Now the other one has not been requested for longer.
    expect(await recheck('1')).toEqual({ shown: 0, forgotten: 1, unclear: 0, filled: 3 });
    expect(await gaps()).toEqual([GAP]);
    fake.fail({ kind: 'empty', times: 9 });
    expect(await recheck('5')).toEqual({ shown: 0, forgotten: 0, unclear: 1, filled: 0 });
    expect(await gaps()).toEqual([GAP]);
  });
});
