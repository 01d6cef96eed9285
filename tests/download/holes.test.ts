import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { TimeRange } from '../../lib/market/ranges.ts';
import { freshDatabase } from '../support/database.ts';
import type { FakeSymbol } from '../support/fake-binance/symbols.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const HOUR = 3_600_000;
/** The open time of the candle that is forming. */
const FORMING = NOW - (NOW % HOUR);

const hours = (from: number, to: number): TimeRange => ({
  fromMs: FORMING + from * HOUR,
  toMs: FORMING + to * HOUR,
});

async function setUp(symbol: Partial<FakeSymbol> = {}) {
  const btc: FakeSymbol = {
    ...{ market: 'spot', symbol: 'BTCUSDT', base: 'BTC', quote: 'USDT' },
    ...symbol,
  };
  const fake = await startExchange({ nowMs: NOW, symbols: [btc] });
  const { sql, url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  return {
    fake,
    btc,
    sql,
    env,
    update: (...words: string[]) => runScript('update-klines', words, env),
    begin: (...words: string[]) =>
      runScript('update-klines', ['--symbol', 'BTC/USDT', '--interval', '1h', ...words], env),
    gaps: async (): Promise<TimeRange[]> => {
      const rows = await sql`select from_time, to_time from confirmed_gaps order by from_time`;
      return rows.map((row) => ({ fromMs: row.from_time.getTime(), toMs: row.to_time.getTime() }));
    },
    count: async () => (await sql`select count(*)::int as candles from klines`)[0]!.candles,
    /** Moves the requests for open gaps into the past. */
    later: (span: string) => sql`
      update open_gaps
      set (first_asked_at, asked_at, shown_at)
        = (first_asked_at - ${span}::interval, asked_at - ${span}::interval, shown_at - ${span}::interval)`,
    /** Deletes candles that the exchange has. */
    lose: ({ fromMs, toMs }: TimeRange) =>
      sql`delete from klines where open_time >= ${new Date(fromMs)} and open_time < ${new Date(toMs)}`,
    /** The requests for 1h candles that open in a range. */
    asked: ({ fromMs, toMs }: TimeRange) =>
      fake
        .klinesRequests()
        .filter(({ interval }) => interval === '1h')
        .filter(({ startTime, endTime }) => startTime! < toMs && endTime! >= fromMs),
  };
}

test('an outage: is confirmed five minutes later, and not requested again', async () => {
  const outage = hours(-50, -46);
  const { fake, begin, update, gaps, asked, later, sql } = await setUp({ gaps: [outage] });
  const completeUntil = async () => (await sql`select complete_until from series_checks`)[0];
  const first = await begin();
  expect(first.exitCode).toBe(EXIT.later);
  expect(first.stdout).toContain('4 in open gaps: run it again in 5 minutes');
  expect(await gaps()).toEqual([]);
  expect(await completeUntil()).toEqual({ complete_until: new Date(outage.fromMs) });
  await later('4 minutes');
  expect((await update()).exitCode).toBe(EXIT.later);
  expect(await gaps()).toEqual([]);
  await later('5 minutes');
  fake.requests = [];
  expect(await update()).toMatchObject({ exitCode: EXIT.done });
  expect(await gaps()).toEqual([outage]);
  expect(await sql`select from open_gaps`).toHaveLength(0);
  expect(await completeUntil()).toEqual({ complete_until: new Date(FORMING) });
  // Twice, because an answer may be empty, and once from the candle before to the one after.
  expect(asked(outage).map(({ startTime, limit }) => [startTime, limit])).toEqual([
    [outage.fromMs, 4],
    [outage.fromMs, 4],
    [outage.fromMs - HOUR, 99],
  ]);
  fake.nowMs = NOW + HOUR;
  fake.requests = [];
  expect((await update()).stdout).toContain('+1 candles');
  expect(fake.klinesRequests()).toHaveLength(1);
  expect(asked(outage)).toEqual([]);
});

test('an outage: is confirmed after the run that catches up', async () => {
  const outage = hours(1200, 1210);
  const { fake, begin, update, gaps, asked, count, later } = await setUp({ gaps: [outage] });
  await begin('--limit', '50');
  fake.nowMs = NOW + 3000 * HOUR;
  await update();
  await later('5 minutes');
  await update();
  expect(await gaps()).toEqual([outage]);
  expect(await count()).toBe(50 + 3000 - 10);
  fake.nowMs += HOUR;
  fake.requests = [];
  await update('--limit', '3000');
  expect(asked(outage)).toEqual([]);
});

test('an old hole: is confirmed by two runs, without new candles', async () => {
  const outage = hours(-80, -70);
  const { btc, begin, update, lose, gaps, later } = await setUp();
  await begin();
  await lose(outage);
  btc.gaps = [outage];
  await update();
  await later('5 minutes');
  await update();
  expect(await gaps()).toEqual([outage]);
});

test('a young outage: is retried with growing delays, then confirmed in full', async () => {
  const outage = hours(-20, -10);
  const { fake, begin, update, gaps, asked, later } = await setUp({ gaps: [outage] });
  // Too young to be confirmed, and that is not the user's business yet.
  expect(await begin('--json')).toMatchObject({ exitCode: EXIT.done });
  const minutes: number[] = [];
  for (let minute = 1; minute <= 9; minute++) {
    await later('1 minute');
    fake.requests = [];
    await update('--limit', '10');
    if (asked(outage).length > 0) minutes.push(minute);
  }
  expect(minutes).toEqual([1, 2, 4, 8]);
  for (const hour of [1, 13]) {
    fake.nowMs = NOW + hour * HOUR;
    await later('1 hour');
    for (const requests of [2, 0]) {
      fake.requests = [];
      await update('--limit', '10');
      expect(asked(outage)).toHaveLength(requests);
      expect(await gaps()).toEqual([]);
    }
  }
  fake.nowMs = NOW + 14 * HOUR;
  await update('--limit', '10');
  expect(await gaps()).toEqual([]);
  await later('1 hour');
  await update('--limit', '10');
  expect(await gaps()).toEqual([outage]);
});

test('a resting hole: stays a hole, and is filled by a later run', async () => {
  const outage = hours(-20, -10);
  const { btc, begin, update, count, later, sql } = await setUp({ gaps: [outage] });
  await begin();
  await later('2 hours');
  await update('--limit', '5');
  btc.gaps = [];
  await update('--limit', '5');
  expect(await count()).toBe(90);
  const [left] = await sql`select complete_until from series_checks`;
  expect(left!.complete_until).toEqual(new Date(outage.fromMs));
  await later('1 hour');
  await update('--limit', '5');
  expect(await count()).toBe(100);
});

test('--force: requests a hole that exists at the exchange too', async () => {
  const outage = hours(-20, -10);
  const { btc, begin, update, count, later } = await setUp({ gaps: [outage] });
  await begin();
  await later('2 hours');
  await update();
  btc.gaps = [];
  await update();
  expect(await count()).toBe(90);
  // It downloads the latest five again, and requests the resting hole before them too.
  await update('--force', '--limit', '5');
  expect(await count()).toBe(100);
});

test('a delisted symbol: its resting holes are requested once more', async () => {
  const outage = hours(-20, -10);
  const { btc, env, begin, update, count, later } = await setUp({ gaps: [outage] });
  await begin();
  await later('2 hours');
  await update();
  btc.gaps = [];
  btc.status = 'BREAK';
  await runScript('sync-instruments', [], env);
  await update();
  expect(await count()).toBe(100);
});

test("a hole: does not rest until a time that the server's wrong clock set", async () => {
  const outage = hours(-20, -10);
  const { btc, begin, update, count, later } = await setUp({ gaps: [outage] });
  await begin();
  await later('-1 year');
  btc.gaps = [];
  await update();
  expect(await count()).toBe(100);
});

test.each([
  ['a new series', 0, 100],
  ['a series that is behind', 1500, 0],
  ['a hole', 0, 0],
])('%s: an answer that is empty once is no gap', async (what, behind, limit) => {
  const { fake, begin, update, lose, gaps, count } = await setUp();
  if (what !== 'a new series') await begin('--limit', '100');
  if (what === 'a hole') await lose(hours(-60, -50));
  fake.nowMs = NOW + behind * HOUR;
  fake.fail({ kind: 'empty' });
  await (limit > 0 ? begin('--limit', String(limit)) : update());
  expect(await gaps()).toEqual([]);
  expect(await count()).toBe(100 + behind);
});

test('bad rows, then an empty answer: are no gap', async () => {
  const { fake, begin, update, gaps, count } = await setUp();
  await begin('--limit', '100');
  fake.nowMs = NOW + 3000 * HOUR;
  const damagedMs = FORMING + 500 * HOUR;
  let answers = 0;
  fake.fail({
    kind: 'garbage',
    times: 99,
    mutate: (rows) => {
      if (!rows.some(([openMs]) => openMs === damagedMs)) return rows;
      answers += 1;
      return answers > 1
        ? []
        : rows.map((row) => (row[0] === damagedMs ? [row[0], 'x', ...row.slice(2)] : row));
    },
  });
  await update();
  // The third time the neighbours were requested, too.
  expect([answers, await count()]).toEqual([3, 3099]);
  expect(await gaps()).toEqual([]);
  fake.faults.clear();
  await update();
  expect(await count()).toBe(3100);
});

test('an exchange that sends nothing: confirms no gap', async () => {
  const { fake, begin, update, lose, gaps, count } = await setUp();
  await begin();
  await lose(hours(-60, -50));
  fake.fail({ kind: 'empty', times: 99 });
  await update();
  expect(await gaps()).toEqual([]);
  fake.faults.clear();
  await update();
  expect(await count()).toBe(100);
});

test('before the first candle and after the last: there is no gap', async () => {
  const { fake, btc, sql, begin, update, gaps } = await setUp({
    listedMs: FORMING - 60 * HOUR,
    endedMs: FORMING + 3 * HOUR,
  });
  await begin('--limit', '500');
  await update('--limit', '500');
  fake.nowMs = NOW + 200 * HOUR;
  await update('--limit', '500');
  // The range between the last candle and this gap looks like a hole.
  const confirmed = hours(100, 110);
  await sql`
    insert into confirmed_gaps (instrument_id, interval, from_time, to_time)
    select id, '1h', ${new Date(confirmed.fromMs)}, ${new Date(confirmed.toMs)} from instruments`;
  btc.status = 'BREAK';
  // Looked up, since it sends nothing, and then updated to its last candle.
  expect((await update('--limit', '500')).stderr).toContain('delisted');
  await update('--limit', '500');
  expect(await gaps()).toEqual([confirmed]);
});

test('a page that fails after an outage: leaves the outage to the next run', async () => {
  const outage = hours(100, 110);
  const { fake, begin, update, gaps, count, later } = await setUp({ gaps: [outage] });
  await begin('--limit', '100');
  fake.nowMs = NOW + 3000 * HOUR;
  const take = fake.faults.take.bind(fake.faults);
  fake.faults.take = (request) => {
    const { startTime = 0 } = request as unknown as { startTime?: number };
    return request.path === 'klines' && startTime > NOW + 1500 * HOUR
      ? { kind: 'invalid-symbol' }
      : take(request);
  };
  expect((await update()).exitCode).not.toBe(EXIT.done);
  expect(await count()).toBeGreaterThan(100);
  expect(await gaps()).toEqual([]);
  fake.faults.take = take;
  expect((await update()).exitCode).toBe(EXIT.later);
  await later('5 minutes');
  expect((await update()).exitCode).toBe(EXIT.done);
  expect(await gaps()).toEqual([outage]);
});

test('--recheck-gaps: requests what update has confirmed', async () => {
  const outage = hours(-50, -46);
  const { fake, btc, env, sql, begin, update, gaps, asked, count, later } = await setUp({
    gaps: [outage],
  });
  await begin();
  await later('5 minutes');
  await update();
  const fetchHistory = (...words: string[]) =>
    runScript(
      'fetch-history',
      ['BTC/USDT', '--interval', '1h', '--since', '2024-03-07', '--source', 'rest', ...words],
      env,
    );
  fake.requests = [];
  expect((await fetchHistory()).stdout).toContain('4 not at the exchange');
  expect(asked(outage)).toEqual([]);
  await sql`update confirmed_gaps set asked_at = asked_at - interval '1 day'`;
  expect((await fetchHistory('--recheck-gaps')).exitCode).toBe(EXIT.done);
  expect(asked(outage)).toHaveLength(1);
  expect(await gaps()).toEqual([outage]);
  expect(
    await sql`select from confirmed_gaps where asked_at > now() - interval '1 hour'`,
  ).toHaveLength(1);
  btc.gaps = [];
  expect((await fetchHistory('--recheck-gaps')).stdout).toContain('+4 candles');
  expect(await gaps()).toEqual([]);
  expect(await count()).toBe(100);
});

test('--force: confirms an outage like any other run, once', async () => {
  const outage = hours(-50, -46);
  const { btc, begin, update, lose, gaps, later } = await setUp();
  await begin();
  await lose(outage);
  btc.gaps = [outage];
  expect((await update('--force')).exitCode).toBe(EXIT.later);
  await later('5 minutes');
  for (const words of [['--force'], ['--force', '--limit', '60']]) {
    expect((await update(...words)).exitCode).toBe(EXIT.done);
    expect(await gaps()).toEqual([outage]);
  }
});
