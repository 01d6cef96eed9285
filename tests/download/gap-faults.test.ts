/**
 * Fetches several symbols while the exchange's answers and files are damaged at random. Small by
 * default; KLINEKEEP_FULL=1 takes 25 symbols × 1 year of 15m.
 */
import { createHash } from 'node:crypto';
import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { TimeRange } from '../../lib/market/ranges.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import type { FakeBinance } from '../support/fake-binance/server.ts';
import type { FakeSymbol } from '../support/fake-binance/symbols.ts';
import { seededRandom } from '../support/random.ts';
import { startStore } from '../support/store.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

const isFull = process.env.KLINEKEEP_FULL === '1';
const TIMEOUT_MS = isFull ? 900_000 : 120_000;
const SYMBOLS = isFull ? 25 : 3;
const MONTHS = isFull ? 12 : 2;
/** Of the answers with candles. */
const FAULT_RATE = isFull ? 0.05 : 0.15;
const MAX_RUNS = 12;
/** A volume that no made-up candle has. */
const ALTERED = '1234567';

const SLOT_MS = 15 * 60_000;
const DAY_MS = 86_400_000;
/** March 2023 is the last month, with a known outage. */
const UNTIL_MS = Date.UTC(2023, 3, 1);
const SINCE_MS = Date.UTC(2023, 3 - MONTHS, 1);
const OUTAGE = { fromMs: Date.UTC(2023, 2, 24, 12, 45), toMs: Date.UTC(2023, 2, 24, 14) };

const DAMAGE: ((rows: RawRow[], pick: number) => RawRow[])[] = [
  () => [],
  (rows, pick) => rows.toSpliced(pick % Math.max(rows.length, 1), 1),
  (rows) => rows.slice(0, -1),
  (rows, pick) => rows.toSpliced(pick % (rows.length + 1), 0, ...rows.slice(0, 1)),
  (rows) => rows.toReversed(),
];

/** The outage, and a few halts of one to a hundred candles. */
function makeGaps(random: () => number): TimeRange[] {
  const slots = (UNTIL_MS - SINCE_MS) / SLOT_MS;
  const halts = Array.from({ length: 2 * MONTHS }, () => {
    const fromMs = SINCE_MS + Math.floor(1 + random() * (slots - 200)) * SLOT_MS;
    return { fromMs, toMs: fromMs + Math.ceil(random() ** 3 * 100) * SLOT_MS };
  });
  return [OUTAGE, ...halts];
}

/** Damages answers at random, the same ones for the same seed in whatever order they are requested. */
function damageAnswers(fake: FakeBinance, seed: number): () => void {
  const requests = new Map<string, number>();
  const take = fake.faults.take.bind(fake.faults);
  fake.faults.take = (request) => {
    const { path, symbol, startTime, limit } = request as unknown as Record<string, unknown>;
    if (path !== 'klines' || limit === 1) return take(request);
    const key = `${seed} ${symbol} ${startTime} ${limit}`;
    const times = (requests.get(key) ?? 0) + 1;
    requests.set(key, times);
    const hash = createHash('sha256').update(`${key} ${times}`).digest();
    if (hash.readUInt32BE(0) / 2 ** 32 >= FAULT_RATE) return undefined;
    const damage = DAMAGE[hash.readUInt8(4) % DAMAGE.length]!;
    return { kind: 'garbage', mutate: (rows) => damage(rows, hash.readUInt32BE(5)) };
  };
  return () => {
    fake.faults.take = take;
  };
}

/** Publishes month files: right ones, none, stale ones, and ones with another month in them. */
async function publishFiles(fake: FakeBinance, random: () => number): Promise<void> {
  for (const { symbol } of fake.symbols) {
    for (let month = 0; month < MONTHS; month++) {
      const date = new Date(Date.UTC(2023, 3 - MONTHS + month, 1)).toISOString().slice(0, 7);
      const options = { symbol, interval: '15m' } as const;
      const kind = random();
      if (kind < 0.3) await publish(fake, date, options);
      else if (kind < 0.4) {
        const endMs = Date.parse(date) + Math.floor(1 + random() * 27) * DAY_MS;
        const edit = (rows: RawRow[]) => rows.filter((row) => row[0] < endMs);
        await publish(fake, date, { ...options, edit });
      } else if (kind < 0.5) {
        const edit = (rows: RawRow[]) =>
          rows.map(
            (row) => row.with(0, row[0] - 31 * DAY_MS).with(6, row[6] - 31 * DAY_MS) as RawRow,
          );
        await publish(fake, date, { ...options, edit });
      }
    }
  }
}

/** Publishes the loaded files once more, each with a few wrong candles. @returns how many are wrong */
async function alterFiles(fake: FakeBinance, sql: postgres.Sql): Promise<number> {
  let altered = 0;
  const files = await sql`
    select i.exchange_symbol as symbol, f.from_time
    from loaded_files f join instruments i on i.id = f.instrument_id
    where f.rows > 0`;
  for (const { symbol, from_time } of files) {
    const edit = (rows: RawRow[]) =>
      rows.map((row, at) => {
        if (at % 97 !== 0) return row;
        altered += 1;
        return row.with(5, ALTERED) as RawRow;
      });
    const date = from_time.toISOString().slice(0, 7);
    await publish(fake, date, { symbol, interval: '15m', edit });
  }
  return altered;
}

test(
  'fetch: confirms no false gap, logs every difference, and requests only what is open',
  async () => {
    const random = seededRandom();
    const symbols = Array.from({ length: SYMBOLS }, (_, index): FakeSymbol => {
      const base = `COIN${index}`;
      return { market: 'spot', symbol: `${base}USDT`, base, quote: 'USDT', gaps: makeGaps(random) };
    });
    const { fake, sql, run } = await startStore({ nowMs: UNTIL_MS + 9 * DAY_MS, symbols });
    await publishFiles(fake, random);
    const endDamage = damageAnswers(fake, Math.floor(random() * 2 ** 31));
    const words = [
      ...symbols.map(({ base }) => `${base}/USDT`),
      ...['--interval', '15m', '--since', new Date(SINCE_MS).toISOString().slice(0, 10)],
      ...['--until', '2023-04-01', '--concurrency', '3', '--json'],
    ];
    const gapsOf = (symbol: string) => symbols.find((each) => each.symbol === symbol)!.gaps!;
    const isGap = (symbol: string, timeMs: number) =>
      gapsOf(symbol).some(({ fromMs, toMs }) => timeMs >= fromMs && timeMs < toMs);
    /** Open times of what is stored, by symbol. */
    const readStored = async () => {
      const rows = await sql`
      select i.exchange_symbol as symbol, array_to_string(array_agg(extract(epoch from k.open_time) * 1000), ',') as times
      from klines k join instruments i on i.id = k.instrument_id group by 1`;
      return new Map(rows.map((row) => [row.symbol, new Set(row.times.split(',').map(Number))]));
    };

    let exitCode: number | null = null;
    let stored = await readStored();
    for (let attempt = 1; attempt <= MAX_RUNS && exitCode !== EXIT.done; attempt++) {
      if (attempt === MAX_RUNS - 2) endDamage();
      await sql`
      update open_gaps
      set asked_at = asked_at - interval '5 minutes', shown_at = shown_at - interval '5 minutes'`;
      fake.requests = [];
      const result = await run('fetch-history', ...words);
      exitCode = result.exitCode;
      expect([EXIT.done, EXIT.later], result.stderr).toContain(exitCode);

      const confirmed = await sql`
      select i.exchange_symbol as symbol, g.from_time, g.to_time
      from confirmed_gaps g join instruments i on i.id = g.instrument_id`;
      const wrong = confirmed.filter(({ symbol, from_time, to_time }) => {
        for (let ms = from_time.getTime(); ms < to_time.getTime(); ms += SLOT_MS)
          if (!isGap(symbol, ms)) return true;
        return false;
      });
      expect(wrong).toEqual([]);

      // Only what was missing was requested. The first and the last candle of a range may be neighbours.
      const surplus = fake.klinesRequests().filter(({ symbol, startTime, endTime, limit }) => {
        const before = stored.get(symbol!);
        for (let ms = startTime! + SLOT_MS; before && limit > 1 && ms < endTime!; ms += SLOT_MS)
          if (before.has(ms)) return true;
        return false;
      });
      expect(surplus).toEqual([]);
      stored = await readStored();
    }
    expect(exitCode).toBe(EXIT.done);

    endDamage();
    await run('fetch-history', ...words);
    const altered = await alterFiles(fake, sql);
    await run('fetch-history', ...words, '--refresh');
    const [logged] = await sql`
      select count(*)::int as differences from repairs
      where was = became and decided_by = 'rest' and (offered ->> 'volume')::numeric = ${ALTERED}`;
    expect(logged).toEqual({ differences: altered });
    for (const { symbol, base } of symbols) {
      const wanted = await fake.candles('spot', symbol, '15m', SINCE_MS, UNTIL_MS - 1);
      const { rows } = await storedRows(sql, 'spot', `${base}/USDT`, '15m');
      expectSameRows(rows, expectedRows(wanted, Number.POSITIVE_INFINITY));
    }
    const [left] = await sql`select count(*)::int as open from open_gaps`;
    expect(left).toEqual({ open: 0 });
  },
  TIMEOUT_MS,
);
