import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { Interval } from '../../lib/market/intervals.ts';
import type { TimeRange } from '../../lib/market/ranges.ts';
import { freshDatabase } from '../support/database.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import { startFakeBinance } from '../support/fake-binance/server.ts';
import { runScript } from '../support/script.ts';

const UNTIL = '2024-01-20';

/** Ten days of BTC/USDT, the first five of them archived. */
async function setUp(
  intervals: readonly Interval[],
  {
    gaps = [],
    days = {},
  }: {
    gaps?: TimeRange[];
    /** Files of 1m to publish, and how they differ from what REST sends. */
    days?: Record<string, (rows: RawRow[]) => RawRow[]>;
  } = {},
) {
  const fake = await startFakeBinance({ nowMs: Date.UTC(2024, 1, 12) });
  onTestFinished(() => fake.close());
  const symbol = fake.symbols.find((each) => each.market === 'spot' && each.symbol === 'BTCUSDT')!;
  symbol.gaps = gaps;
  const { sql, url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  for (const [day, edit] of Object.entries(days))
    await publish(fake, day, { interval: '1m', edit });
  for (const interval of intervals) {
    const range = ['--since', '2024-01-10', '--until', UNTIL];
    await runScript('fetch-history', ['BTC/USDT', '--interval', interval, ...range], env);
  }
  await runScript('archive', ['1', '--as-of', '2024-01-16'], env);
  /** Findings as `interval check count`. */
  const verify = async (...words: string[]) => {
    const result = await runScript('verify-integrity', ['--json', '--to', UNTIL, ...words], env);
    const { findings, repaired } = JSON.parse(result.stdout);
    const found: string[] = findings.map(
      (each: { interval: string; check: string; isPublished: boolean; count: number }) =>
        `${each.interval} ${each.check}${each.isPublished ? ' published' : ''} ${each.count}`,
    );
    return { exitCode: result.exitCode, found: found.sort(), repaired };
  };
  /** Nothing but empty answers for an interval, or for all. @returns ends it */
  const fallSilent = (interval?: Interval) => {
    const { candles } = fake;
    fake.candles = async (...asked) =>
      interval && asked[2] !== interval ? await candles.apply(fake, asked) : [];
    return () => {
      fake.candles = candles;
    };
  };
  return { fake, symbol, sql, verify, fallSilent };
}

test('a candle that the exchange does not send differs, before and after a repair', async () => {
  const { symbol, verify } = await setUp(['1h']);
  const at = Date.parse('2024-01-18T03:00Z');
  symbol.gaps = [{ fromMs: at, toMs: at + 3_600_000 }];
  // So many picks out of fifty that no candle is left out.
  const words = ['--compare', '2000', '--from', '2024-01-18'];
  const wanted = { exitCode: EXIT.findings, found: ['1h differs 1'], repaired: [] };
  expect(await verify(...words)).toEqual(wanted);
  expect(await verify(...words, '--repair')).toEqual(wanted);
});

test('a roll-up is published only if the exchange has sent its minutes again', async () => {
  const { sql, verify, fallSilent } = await setUp(['1m', '1h']);
  await sql`update klines set volume = volume + 5 where interval = '1m' and open_time = '2024-01-18 03:05Z'`;
  const speakAgain = fallSilent('1m');
  const wanted = { exitCode: EXIT.findings, found: ['1h rollup 1'], repaired: [] };
  expect(await verify('--repair')).toEqual(wanted);
  speakAgain();
  expect(await verify('--repair')).toMatchObject({ exitCode: EXIT.done, found: [] });
});

test('an archive that the exchange says nothing about is not sealed', async () => {
  const { sql, verify, fallSilent } = await setUp(['1h']);
  await sql`update klines_archive set volume = volume + 5 where open_time = '2024-01-11 03:00Z'`;
  const speakAgain = fallSilent();
  const wanted = { exitCode: EXIT.findings, found: ['1h batch-hash 1'], repaired: [] };
  expect(await verify('--deep', '--repair')).toEqual(wanted);
  speakAgain();
  expect(await verify('--deep', '--repair')).toMatchObject({
    exitCode: EXIT.done,
    found: [],
    repaired: [{ replaced: 1, checkpoints: 1 }],
  });
});

test('an exchange that sends nothing at all confirms no gap', async () => {
  const { sql, verify, fallSilent } = await setUp(['1h']);
  await sql`delete from klines_archive where open_time >= '2024-01-11 03:00Z' and open_time < '2024-01-11 09:00Z'`;
  const speakAgain = fallSilent();
  const wanted = { exitCode: EXIT.findings, found: ['1h missing 6'], repaired: [] };
  expect(await verify('--repair')).toEqual(wanted);
  speakAgain();
  expect(await verify('--repair')).toMatchObject({ exitCode: EXIT.done, found: [] });
});

test('--deep finds archived candles that no batch has brought', async () => {
  const { sql, verify } = await setUp(['1h']);
  await sql`
    with moved as (
      delete from klines where open_time = (select min(open_time) from klines) returning *
    )
    insert into klines_archive select * from moved`;
  await sql`update klines_archive set volume = volume + 5 where open_time = '2024-01-15'`;
  expect((await verify()).found).toEqual([]);
  expect((await verify('--deep')).found).toEqual(['1h batch-hash 1']);
  expect((await verify('--deep', '--repair')).repaired).toMatchObject([{ replaced: 1, checkpoints: 1 }]);
  expect((await verify('--deep')).found).toEqual([]);
});

test('a file that has candles twice, and an outage, is no loss', async () => {
  const [fromMs, toMs] = [Date.parse('2024-01-11T03:00Z'), Date.parse('2024-01-11T04:00Z')];
  const { sql, verify } = await setUp(['1m'], {
    gaps: [{ fromMs, toMs }],
    days: {
      '2024-01-11': (rows) => [...rows.slice(0, 10), ...rows.slice(5)],
      // In order, and off the grid: no candle is there twice, but two slots have two.
      '2024-01-12': (rows) =>
        rows.flatMap((row, at) => (at < 2 ? [row, row.with(0, row[0] + 14_789) as RawRow] : [row])),
    },
  });
  const files = await sql`select rows from loaded_files order by name`;
  expect(files.map((file) => file.rows)).toEqual([1380, 1440]);
  expect(await verify()).toMatchObject({
    found: ['1m confirmed-gap 60', '1m doubled-slot 2', '1m off-grid 2'],
  });
});

test('a thousand slots that are doubled as published hide no other one', async () => {
  const { sql, verify } = await setUp(['1m']);
  const double = (from: string, to: string) => sql`
    insert into klines (
      instrument_id, interval, open_time, close_time, open_price, high_price, low_price, close_price,
      volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
    )
    select instrument_id, interval, open_time + interval '14.789 s', close_time, open_price, high_price,
      low_price, close_price, volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
    from klines
    where open_time >= ${from} and open_time < ${to}`;
  await double('2024-01-18', '2024-01-18 17:00Z');
  await sql`
    insert into published_oddities (instrument_id, interval, open_time, check_name, row_hash)
    select instrument_id, interval, slot_of('1m', open_time), 'doubled-slot',
      hash_array_extended(array_agg(open_time order by open_time), 0)
    from klines
    group by 1, 2, 3
    having count(*) > 1`;
  await double('2024-01-19 05:00Z', '2024-01-19 05:01Z');
  const { exitCode, found } = await verify();
  expect(exitCode).toBe(EXIT.findings);
  expect(found).toEqual([
    '1m doubled-slot 1',
    '1m doubled-slot published 1020',
    '1m off-grid 1021',
  ]);
});

test('a thousand roll-ups that are wrong as published hide no other one', async () => {
  const { sql, verify } = await setUp(['1m', '3m']);
  const spoil = (from: string, to: string) => sql`
    update klines set volume = 7000, taker_buy_volume = 1
    where interval = '3m' and open_time >= ${from} and open_time < ${to}`;
  await spoil('2024-01-17', '2024-01-19 03:00Z');
  const fields = [
    ["'volume '", 'volume'],
    ["'taker volume '", 'taker_buy_volume'],
  ].map(
    ([name, column]) =>
      `${name} || trim_scale(l.${column}) || ', 1m ' || trim_scale(sum(s.${column}))`,
  );
  await sql.unsafe(`
    insert into published_oddities (instrument_id, interval, open_time, check_name, row_hash)
    select l.instrument_id, l.interval, l.open_time, 'rollup', hashtextextended(${fields.join(" || ', ' || ")}, 0)
    from klines l
    join klines s on s.interval = '1m' and s.open_time >= l.open_time and s.open_time <= l.close_time
    where l.interval = '3m' and l.volume = 7000
    group by l.instrument_id, l.interval, l.open_time, l.volume, l.taker_buy_volume`);
  await spoil('2024-01-19 05:00Z', '2024-01-19 05:03Z');
  const { exitCode, found } = await verify();
  expect(exitCode).toBe(EXIT.findings);
  expect(found).toEqual(['3m rollup 1', '3m rollup published 1020']);
});

test('a gap that was confirmed and filled since keeps no roll-up from being checked', async () => {
  const { sql, verify } = await setUp(['1m', '1h']);
  await sql`
    insert into confirmed_gaps (instrument_id, interval, from_time, to_time)
    select id, '1m', '2024-01-18 03:50Z', '2024-01-18 04:10Z' from instruments`;
  expect((await verify()).found).toEqual([]);
  await sql`update klines set volume = volume + 5 where interval = '1m' and open_time = '2024-01-18 03:05Z'`;
  expect((await verify()).found).toEqual(['1h rollup 1']);
});

test('of two published candles in one slot a file that mends one takes none away', async () => {
  const { fake, sql, verify } = await setUp(['1m']);
  const at = Date.parse('2024-01-18T03:05Z');
  const twice = (rows: RawRow[]) =>
    rows.flatMap((row): RawRow[] =>
      row[0] === at ? [row, row.with(0, at + 14_789) as RawRow] : [row],
    );
  await publish(fake, '2024-01-18', { interval: '1m', edit: twice });
  const { candles } = fake;
  fake.candles = async (...asked) => twice(await candles.apply(fake, asked));
  await sql`
    insert into klines
    select instrument_id, interval, open_time + interval '14.789 s', close_time, open_price, high_price,
      low_price, close_price, volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
    from klines
    where open_time = ${new Date(at)}`;
  const stored = () => sql`
    select open_time, volume from klines
    where open_time >= ${new Date(at)} and open_time < ${new Date(at + 60_000)}
    order by 1`;
  const wanted = [...(await stored())];
  await sql`update klines set volume = -1 where open_time = ${new Date(at)}`;
  expect((await verify('--repair')).repaired).toMatchObject([{ replaced: 1, removed: 0 }]);
  expect([...(await stored())]).toEqual(wanted);
});

test('a table that was detached is found, though nothing tells what it held', async () => {
  const { sql, verify } = await setUp(['1h']);
  await sql`truncate archive_batches`;
  await sql`alter table klines detach partition btc_usdt`;
  await sql`alter table klines_archive detach partition btc_usdt_archive`;
  expect(await verify()).toMatchObject({ exitCode: EXIT.findings, found: ['- not-attached 2'] });
});
