import { describe, expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { Interval } from '../../lib/market/intervals.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import { startStore } from '../support/store.ts';

const DAY = '2021-01-21';

/** A store with candles of some days in January 2021, from REST. @param series the first day of each interval */
async function startSeries(series: Partial<Record<Interval, string>>) {
  const store = await startStore({ nowMs: Date.parse('2021-03-02') });
  const { sql, run } = store;
  for (const [interval, since] of Object.entries(series)) {
    const range = ['--since', since, '--until', '2021-01-25', '--source', 'rest'];
    await run('fetch-history', 'BTC/USDT', '--interval', interval, ...range);
  }
  const verify = async (...words: string[]) => {
    const { exitCode, stdout } = await run(
      'verify-integrity',
      '--to',
      '2021-01-25',
      '--json',
      ...words,
    );
    const { findings } = JSON.parse(stdout);
    const found = findings
      .filter(({ check }: { check: string }) => check === 'rollup')
      .map(
        (each: { interval: string; isPublished: boolean; count: number; examples: string[] }) =>
          `${each.interval}${each.isPublished ? ' published' : ''} ${each.count}: ${each.examples[0]}`,
      );
    return { exitCode, found: found.sort() };
  };
  const spoil = (interval: Interval, time: string) => sql`
    update klines set volume = volume + 5 where interval = ${interval} and open_time = ${new Date(time)}`;
  return { ...store, verify, spoil };
}

describe('verify: finds a candle that is not the sum of a shorter interval', () => {
  test('also where no 1m candles are stored; --repair corrects either', async () => {
    const { verify, spoil } = await startSeries({
      '15m': '2021-01-18',
      '1h': '2021-01-18',
      '1d': '2021-01-18',
    });
    expect((await verify()).found).toEqual([]);
    await spoil('1d', '2021-01-20');
    await spoil('1h', '2021-01-22T05:00Z');
    const { found, exitCode } = await verify();
    expect(exitCode).toBe(EXIT.findings);
    expect(found).toEqual([
      expect.stringMatching(/^1d 2: 2021-01-20 volume \S+, 1h \S+$/),
      expect.stringMatching(/^1h 1: 2021-01-22 05:00 volume \S+, 15m /),
    ]);
    expect(await verify('--repair')).toEqual({ exitCode: EXIT.done, found: [] });
  });

  test('and marks it as published where Binance sends both, as on 2021-01-21', async () => {
    const { fake, run, verify } = await startSeries({ '1h': '2021-01-19' });
    // On that day the volume of each symbol's day was not the sum of its hours.
    const { candles } = fake;
    fake.candles = async (...asked) => {
      const rows = await candles.apply(fake, asked);
      const isOdd = (row: RawRow) => asked[2] === '1d' && row[0] === Date.parse(DAY);
      return rows.map((row) => (isOdd(row) ? (row.with(5, '123456.78900000') as RawRow) : row));
    };
    const range = ['--since', '2021-01-19', '--until', '2021-01-25', '--source', 'rest'];
    await run('fetch-history', 'BTC/USDT', '--interval', '1d', ...range);
    expect(await verify()).toEqual({
      exitCode: EXIT.findings,
      found: [expect.stringMatching(/^1d 1: 2021-01-21 volume 123456.789, 1h \S+$/)],
    });
    const published = [expect.stringMatching(/^1d published 1: 2021-01-21 volume/)];
    expect(await verify('--repair')).toEqual({ exitCode: EXIT.done, found: published });
    expect(await verify()).toEqual({ exitCode: EXIT.done, found: published });
  });

  test('with the longest shorter interval that covers its time', async () => {
    const { verify, spoil } = await startSeries({
      '1m': '2021-01-21',
      '15m': '2021-01-23T10:30Z',
      '1h': '2021-01-20',
      '1w': '2021-01-11',
      '1d': '2021-01-11',
      '3d': '2021-01-11',
    });
    expect((await verify()).found).toEqual([]);
    await spoil('1h', '2021-01-21T05:00Z');
    await spoil('1h', '2021-01-23T10:00Z');
    await spoil('1h', '2021-01-24T05:00Z');
    const { found } = await verify();
    // Two days are not the sum of their hours any more, and of their minutes neither.
    expect(found).toHaveLength(2);
    expect(found[0]).toMatch(/^1d 3: .*, 1h/);
    expect(found[1]).toMatch(/^1h 3: 2021-01-21 05:00 .*, 1m|^1h 3: 2021-01-24 05:00 .*, 15m/);
    await spoil('1w', '2021-01-11');
    expect((await verify()).found.join()).toMatch(/1w 1: 2021-01-11 volume \S+, 1d /);
    expect((await verify('--repair')).found).toEqual([]);
  });
});
