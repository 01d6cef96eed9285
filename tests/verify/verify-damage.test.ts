import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { DAY_MS } from '../../lib/base/time.ts';
import { freshDatabase } from '../support/database.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';
import { expectSameRows, storedRows } from '../support/stored.ts';
import { doubleSlots } from './support.ts';

/** Rounds of random damage. KLINEKEEP_DAMAGE_SEED repeats a round that failed. */
const ROUNDS = Number(process.env.KLINEKEEP_DAMAGE_ROUNDS ?? 4);
const SEED = Number(process.env.KLINEKEEP_DAMAGE_SEED ?? Math.floor(Math.random() * 1e9));

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const SINCE_MS = Date.UTC(2024, 0, 20);
const UNTIL_MS = Date.UTC(2024, 0, 30);
/** Candles that open before this are archived. */
const CUTOFF_MS = Date.UTC(2024, 0, 26);
/** The exchange has no candles here. */
const OUTAGE = { fromMs: Date.UTC(2024, 0, 22, 5), toMs: Date.UTC(2024, 0, 22, 7) };

type Random = (below: number) => number;
type Tier = 'klines' | 'klines_archive';

/** The findings that damage must lead to, as `interval check`, with how many candles of each. */
type Finds = (size: number) => Record<string, number>;
/** Does the damage. @param at a minute in the hour, neither its first nor one of its last ones */
type Plant = (sql: postgres.Sql, tier: Tier, at: Date, size: number) => Promise<unknown>;
/** One kind of damage, done somewhere in an hour of its own. */
type Damage = [tier: Tier, finds: Finds, plant: Plant];

const later = (at: Date, ms: number) => new Date(at.getTime() + ms);

/** Sets columns of the minute. */
function set(assignments: string): Plant {
  return (sql, tier, at) =>
    sql`update ${sql(tier)} set ${sql.unsafe(assignments)} where interval = '1m' and open_time = ${at}`;
}

/** Sets columns of the hour. */
function setHour(assignments: string): Plant {
  return (sql, tier, at) =>
    sql`update ${sql(tier)} set ${sql.unsafe(assignments)} where interval = '1h' and open_time = ${startOfHour(at)}`;
}

const startOfHour = (at: Date) => new Date(Math.floor(at.getTime() / HOUR_MS) * HOUR_MS);
const once =
  (...checks: string[]): Finds =>
  () =>
    Object.fromEntries(checks.map((check) => [`1m ${check}`, 1]));
const onceHourly =
  (check: string): Finds =>
  () => ({ [`1h ${check}`]: 1 });

const lose: Plant = (sql, tier, at, size) =>
  sql`delete from ${sql(tier)} where interval = '1m' and open_time >= ${at} and open_time < ${later(at, size * MINUTE_MS)}`;

const loseOne: Plant = (sql, tier, at) => lose(sql, tier, at, 1);

const loseHour: Plant = (sql, tier, at) =>
  sql`delete from ${sql(tier)} where interval = '1h' and open_time = ${startOfHour(at)}`;

/** Copies the minute to the other tier, and changes the copy. */
function copy(assignments?: string): Plant {
  return async (sql, tier, at, size) => {
    const other = tier === 'klines' ? 'klines_archive' : 'klines';
    await sql`insert into ${sql(other)} select * from ${sql(tier)} where interval = '1m' and open_time = ${at}`;
    if (assignments) await set(assignments)(sql, other, at, size);
  };
}

const double: Plant = (sql, tier, at) => doubleSlots(sql, tier, at, later(at, MINUTE_MS));

/** Confirms a gap for which the bulk file had candles. */
const confirmFalseGap: Plant = async (sql, tier, at, size) => {
  await lose(sql, tier, at, size);
  await sql`
    insert into confirmed_gaps (instrument_id, interval, from_time, to_time)
    select id, '1m', ${at}, ${later(at, size * MINUTE_MS)} from instruments`;
};

/** The stored hour differs from its minutes, too. */
const findsFalseGap: Finds = (size) => ({
  '1m loaded-file': size,
  '1m confirmed-gap': size,
  '1h rollup': 1,
});

const [HOT, OLD] = ['klines', 'klines_archive'] as const;
const missing: Finds = (size) => ({ '1m missing': size });
const shift = `open_time = open_time + interval '14.789 s', close_time = close_time + interval '14.789 s'`;

const KINDS: Record<string, Damage> = {
  'a lost minute': [HOT, once('missing'), loseOne],
  'a lost archived minute': [OLD, once('missing'), loseOne],
  'lost minutes': [HOT, missing, lose],
  'lost archived minutes': [OLD, missing, lose],
  'a lost hour': [HOT, onceHourly('missing'), loseHour],
  'a lost archived hour': [OLD, onceHourly('missing'), loseHour],
  'a gap confirmed by mistake': [HOT, findsFalseGap, confirmFalseGap],
  'an archived gap confirmed by mistake': [OLD, findsFalseGap, confirmFalseGap],
  'a copy in the archive': [HOT, once('in-both-tiers'), copy()],
  'a copy of an archived one': [OLD, once('in-both-tiers'), copy()],
  'a wrong copy in the archive': [HOT, once('in-both-tiers'), copy('volume = volume + 1')],
  'a wrong copy of an archived one': [
    OLD,
    once('in-both-tiers'),
    copy('low_price = low_price - 1'),
  ],
  'off the grid': [HOT, once('off-grid'), set(shift)],
  'archived off the grid': [OLD, once('off-grid'), set(shift)],
  'two in one slot': [HOT, once('off-grid', 'doubled-slot'), double],
  'two archived in one slot': [OLD, once('off-grid', 'doubled-slot'), double],
  'not closed': [HOT, once('not-closed'), set("close_time = '2100-01-01'")],
  'closes early': [HOT, once('close-time'), set("close_time = close_time - interval '20 s'")],
  'archived, closes late': [
    OLD,
    once('close-time'),
    set("close_time = close_time + interval '1 hour'"),
  ],
  'high too low': [HOT, once('impossible-ohlc'), set('high_price = low_price - 0.01')],
  'archived low too high': [OLD, once('impossible-ohlc'), set('low_price = high_price + 0.01')],
  'close above high': [OLD, once('impossible-ohlc'), set('close_price = high_price + 0.01')],
  'NaN volume': [HOT, once('not-a-number'), set("volume = 'NaN'")],
  'archived NaN price': [OLD, once('not-a-number'), set("high_price = 'NaN'")],
  'a price of zero': [HOT, once('price-not-positive'), set('low_price = 0')],
  'negative archived prices': [
    OLD,
    once('price-not-positive'),
    set('open_price = -open_price, low_price = -low_price'),
  ],
  'negative volume': [HOT, once('negative-volume'), set('volume = -volume')],
  'negative archived quote volume': [
    OLD,
    once('negative-volume'),
    set('taker_buy_quote_volume = -0.00000001'),
  ],
  'a negative count': [HOT, once('negative-volume'), set('trades_count = -1')],
  'takers above all': [
    HOT,
    once('taker-above-total'),
    set('taker_buy_volume = volume + 0.00000001'),
  ],
  'archived takers above all': [
    OLD,
    once('taker-above-total'),
    set('taker_buy_quote_volume = quote_volume + 0.00000001'),
  ],
  'trades without volume': [HOT, once('no-volume'), set('volume = 0, taker_buy_volume = 0')],
  'a jump': [
    HOT,
    () => ({ '1m jump': 2, '1h rollup': 1 }),
    set(
      'open_price = 3 * open_price, high_price = 3 * high_price, low_price = 3 * low_price, close_price = 3 * close_price',
    ),
  ],
  'the last digit of a minute': [HOT, onceHourly('rollup'), set('volume = volume + 0.00000001')],
  'the last digit of an archived minute': [
    OLD,
    onceHourly('rollup'),
    set('quote_volume = quote_volume + 0.00000001'),
  ],
  'the last digit of an hour': [
    HOT,
    onceHourly('rollup'),
    setHour('close_price = close_price + 0.00000001'),
  ],
  'a count of an archived hour': [
    OLD,
    onceHourly('rollup'),
    setHour('trades_count = trades_count + 1'),
  ],
};

async function setUp() {
  const symbol = {
    market: 'spot',
    symbol: 'BTCUSDT',
    base: 'BTC',
    quote: 'USDT',
    basePrice: 64_000,
  } as const;
  const fake = await startExchange({
    nowMs: Date.UTC(2024, 1, 12),
    symbols: [{ ...symbol, listedMs: Date.UTC(2019, 0, 1), gaps: [OUTAGE] }],
  });
  const { sql, url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  const days = Array.from({ length: (UNTIL_MS - SINCE_MS) / DAY_MS }, (_, day) =>
    new Date(SINCE_MS + day * DAY_MS).toISOString().slice(0, 10),
  );
  for (const day of days) {
    for (const interval of ['1m', '1h'] as const) await publish(fake, day, { interval });
  }
  const range = ['--since', days[0]!, '--until', new Date(UNTIL_MS).toISOString().slice(0, 10)];
  for (const interval of ['1m', '1h', '1h']) {
    await runScript('fetch-history', ['BTC/USDT', '--interval', interval, ...range], env);
    // There are no files of hours, so only a second run confirms the outage.
    await sql`update open_gaps set shown_at = shown_at - interval '5 minutes'`;
  }
  const asOf = new Date(CUTOFF_MS + DAY_MS).toISOString().slice(0, 10);
  await runScript('archive', ['1', '--as-of', asOf, '--batch', '1000'], env);
  // Every third day has to come from REST.
  for (const day of days.filter((_, index) => index % 3 === 0))
    fake.bulk.remove(`spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-${day}.zip`);

  const stored = async () =>
    [
      await storedRows(sql, 'spot', 'BTC/USDT', '1m'),
      await storedRows(sql, 'spot', 'BTC/USDT', '1h'),
    ] as const;
  const reference = await stored();
  /** No candle has changed, or has moved to the other tier. */
  const expectSame = async () => {
    const now = await stored();
    for (const [index, { rows, tiers }] of now.entries()) {
      expectSameRows(rows, reference[index]!.rows);
      expect(tiers).toEqual(reference[index]!.tiers);
    }
  };
  const verify = async (...words: string[]) => {
    const to = new Date(UNTIL_MS).toISOString();
    const result = await runScript('verify-integrity', ['--json', '--to', to, ...words], env);
    const json = JSON.parse(result.stdout);
    const found: Record<string, number> = {};
    for (const { interval, check, isPublished, count } of json.findings.filter(isWrong))
      found[`${interval} ${check}${isPublished ? ' published' : ''}`] = count;
    return { exitCode: result.exitCode, found, json, stderr: result.stderr };
  };
  return { fake, sql, env, verify, expectSame };
}

/** What was repaired stays in the report. */
const isWrong = ({ check }: { check: string }) => check !== 'corrected';

const NOTHING = { '1m confirmed-gap': 120, '1h confirmed-gap': 2 };

test('verify: finds random damage, and only that; --repair fixes every digit', async () => {
  const { sql, verify, expectSame } = await setUp();
  expect((await verify('--deep')).found).toEqual(NOTHING);
  for (let round = 0; round < ROUNDS; round++) {
    const seed = SEED + round;
    const { planted, wanted } = await plantSome(sql, randomFrom(seed), round === 0);
    const note = `KLINEKEEP_DAMAGE_SEED=${seed}: ${planted.join(', ')}`;
    const before = await verify();
    expect(before.found, note).toEqual(wanted);
    expect(before.exitCode, note).toBe(EXIT.findings);
    const repaired = await verify('--repair');
    expect(repaired.found, note).toEqual(NOTHING);
    expect(repaired.exitCode, note).toBe(EXIT.done);
    await expectSame();
    expect((await verify('--deep')).found, note).toEqual(NOTHING);
    expect((await verify('--repair', '--deep')).json.repaired, note).toEqual([]);
  }
});

/** Does damage of some kinds, or all, each in an hour of its own. @returns the findings it must lead to */
async function plantSome(sql: postgres.Sql, random: Random, all: boolean) {
  const kinds = Object.entries(KINDS).filter(() => all || random(3) === 0);
  const taken = new Set<number>();
  const wanted: Record<string, number> = { ...NOTHING };
  const planted: string[] = [];
  for (const [name, [tier, finds, plant]] of kinds) {
    const hourMs = freeHour(random, tier, taken);
    const size = 2 + random(10);
    const at = new Date(hourMs + (5 + random(40)) * MINUTE_MS);
    await plant(sql, tier, at, size);
    planted.push(`${name} at ${at.toISOString()} (${size})`);
    for (const [check, count] of Object.entries(finds(size)))
      wanted[check] = (wanted[check] ?? 0) + count;
  }
  // Bulk files and archive batches record where the series began and ended.
  for (const [tier, fromMs, isLost] of [
    ['klines_archive', SINCE_MS, random(2)],
    ['klines', UNTIL_MS - 7 * MINUTE_MS, random(2)],
  ] as const) {
    if (!all && isLost === 0) continue;
    const size = 7;
    await lose(sql, tier, new Date(fromMs), size);
    planted.push(`${size} minutes at an end`);
    wanted['1m missing'] = (wanted['1m missing'] ?? 0) + size;
  }
  return { planted, wanted };
}

/** An hour in the tier that is not beside another damaged one, an end or the outage. */
function freeHour(random: Random, tier: Tier, taken: Set<number>): number {
  const [fromMs, toMs] = tier === 'klines' ? [CUTOFF_MS, UNTIL_MS] : [SINCE_MS, CUTOFF_MS];
  for (;;) {
    const hourMs = fromMs + HOUR_MS * (1 + random((toMs - fromMs) / HOUR_MS - 2));
    const isFree = [-HOUR_MS, 0, HOUR_MS].every((apart) => !taken.has(hourMs + apart));
    const isOutage = hourMs >= OUTAGE.fromMs - HOUR_MS && hourMs <= OUTAGE.toMs;
    if (!isFree || isOutage) continue;
    taken.add(hourMs);
    return hourMs;
  }
}

function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
