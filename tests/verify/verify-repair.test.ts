import { describe, expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import { doubleSlots, HOURS, MINUTES, prepareStore, silence } from './support.ts';

const hours = prepareStore(HOURS);
const minutes = prepareStore(MINUTES);

describe('verify --repair: odd candles', () => {
  test('are requested once, and reported as published from then on', async () => {
    const { fake, sql, run, verify, expectComplete } = await hours();
    const times = ['2024-01-03 05:00Z', '2024-02-20 05:00Z', '2024-02-22 07:00Z'];
    // The exchange has these, and so has the store.
    const publishOdd = (time: string, edit: (row: RawRow) => unknown) =>
      fake.oddities.set(Date.parse(time), (row) => edit(row) as RawRow);
    publishOdd(times[0]!, (row) => row.with(4, `${Number(row[2]) + 1}`));
    publishOdd(times[1]!, (row) => row.with(5, '-3'));
    publishOdd(times[2]!, (row) => row.with(0, row[0] + 14_789));
    for (const tier of ['klines', 'klines_archive']) {
      await sql`update ${sql(tier)} set close_price = high_price + 1 where open_time = ${times[0]!}`;
      await sql`update ${sql(tier)} set volume = -3 where open_time = ${times[1]!}`;
      await sql`update ${sql(tier)} set open_time = open_time + interval '14.789 s' where open_time = ${times[2]!}`;
    }
    expect((await verify()).found).toEqual([
      '1h impossible-ohlc 1',
      '1h negative-volume 1',
      '1h off-grid 1',
    ]);
    const repaired = await verify('--repair');
    const published = [
      '1h impossible-ohlc published 1',
      '1h negative-volume published 1',
      '1h off-grid published 1',
    ];
    expect(repaired.found).toEqual(published);
    expect(repaired.exitCode).toBe(EXIT.done);
    expect(repaired.findings.map((each) => each.severity)).toEqual(['info', 'info', 'info']);
    const nothing = { replaced: 0, removed: 0, filled: 0 };
    expect(repaired.repaired).toMatchObject([{ asPublished: 3, ...nothing }]);

    fake.requests = [];
    const again = await verify('--repair', '--fail-on', 'warning');
    expect(again.found).toEqual(published);
    expect(again.exitCode).toBe(EXIT.done);
    expect(fake.klinesRequests()).toEqual([]);
    const { stdout } = await run('verify-integrity', '--to', HOURS.until);
    expect(stdout).toContain('no impossible values; 3 odd as published');

    // Odd in another way than published, while the exchange has corrected the others.
    fake.oddities.clear();
    await sql`update klines set volume = -4 where open_time = ${times[1]!}`;
    expect((await verify()).found).toEqual([
      '1h impossible-ohlc published 1',
      '1h negative-volume 1',
      '1h off-grid published 1',
    ]);
    await sql`delete from published_oddities`;
    expect((await verify('--repair')).found).toEqual([]);
    await expectComplete();
  });

  test('stay when the exchange sends invalid rows', async () => {
    const { fake, sql, verify } = await hours();
    await sql`update klines set volume = -1 where open_time = '2024-02-20 03:00Z'`;
    fake.fail({ kind: 'garbage', times: 9, mutate: (rows) => rows.map((row) => row.with(1, '0')) });
    expect((await verify('--repair')).found).toEqual(['1h negative-volume 1']);
    const [row] = await sql`select volume from klines where open_time = '2024-02-20 03:00Z'`;
    expect(row?.volume).toBe('-1.00000000');
  });

  test('are replaced alone where the exchange has two in their slot', async () => {
    const { fake, sql, verify } = await minutes();
    const at = Date.parse('2024-01-18T03:05Z');
    const twice = (rows: RawRow[]) =>
      rows.flatMap((row): RawRow[] =>
        row[0] === at ? [row, row.with(0, at + 14_789) as RawRow] : [row],
      );
    await publish(fake, '2024-01-18', { interval: '1m', edit: twice });
    const { candles } = fake;
    fake.candles = async (...asked) => twice(await candles.apply(fake, asked));
    await doubleSlots(sql, 'klines', new Date(at), new Date(at + 60_000));
    const stored = () => sql`
      select open_time, volume from klines
      where open_time >= ${new Date(at)} and open_time < ${new Date(at + 60_000)}
      order by 1`;
    const wanted = [...(await stored())];
    await sql`update klines set volume = -1 where open_time = ${new Date(at)}`;
    expect((await verify('--repair')).repaired).toMatchObject([{ replaced: 1, removed: 0 }]);
    expect([...(await stored())]).toEqual(wanted);
  });

  test('that differ from their minutes stay an error until those are sent', async () => {
    const { fake, sql, verify } = await minutes();
    await sql`update klines set volume = volume + 5 where interval = '1m' and open_time = '2024-01-18 03:05Z'`;
    const endSilence = silence(fake, '1m');
    const wanted = { exitCode: EXIT.findings, found: ['1h rollup 1'], repaired: [] };
    expect(await verify('--repair')).toMatchObject(wanted);
    endSilence();
    expect(await verify('--repair')).toMatchObject({ exitCode: EXIT.done, found: [] });
  });
});

describe('verify --repair: empty slots', () => {
  test('become confirmed gaps once that is proven; a stored candle stays', async () => {
    const { symbol, sql, verify, expectComplete } = await hours();
    const lost = { fromMs: Date.parse('2024-01-20T03:00Z'), toMs: Date.parse('2024-01-20T06:00Z') };
    const odd = { fromMs: Date.parse('2024-02-20T03:00Z'), toMs: Date.parse('2024-02-20T04:00Z') };
    symbol.gaps = [lost, odd];
    await sql`delete from klines_archive where open_time >= '2024-01-20 03:00Z' and open_time < '2024-01-20 06:00Z'`;
    await sql`update klines set low_price = high_price * 1.1 where open_time = '2024-02-20 03:00Z'`;
    const open = await verify('--repair');
    expect(open.found).toEqual(['1h impossible-ohlc 1', '1h open-gap 3']);
    expect(open.exitCode).toBe(EXIT.findings);
    await sql`update open_gaps set shown_at = shown_at - interval '5 minutes'`;
    const first = await verify('--repair');
    expect(first.found).toEqual(['1h confirmed-gap 3', '1h impossible-ohlc 1']);
    expect(first.exitCode).toBe(EXIT.findings);
    const [gap] = await sql`select from_time, to_time from confirmed_gaps`;
    expect([gap?.from_time.getTime(), gap?.to_time.getTime()]).toEqual([lost.fromMs, lost.toMs]);
    expect((await verify('--repair')).repaired).toEqual([]);

    symbol.gaps = [];
    await sql`delete from confirmed_gaps`;
    expect((await verify('--repair', '--deep')).found).toEqual([]);
    await expectComplete();
  });

  test('become no gap while the exchange sends nothing', async () => {
    const { fake, sql, verify } = await hours();
    await sql`delete from klines_archive where open_time >= '2024-01-11 03:00Z' and open_time < '2024-01-11 09:00Z'`;
    const endSilence = silence(fake);
    const wanted = { exitCode: EXIT.later, found: ['1h open-gap 6'], repaired: [] };
    for (let run = 1; run <= 2; run++) {
      expect(await verify('--repair')).toMatchObject(wanted);
      await sql`update open_gaps set asked_at = asked_at - interval '1 hour'`;
    }
    endSilence();
    expect(await verify('--repair')).toMatchObject({ exitCode: EXIT.done, found: [] });
  });
});

describe('verify --compare', () => {
  test('lists the fields that differ and the source; --repair stores them', async () => {
    const { fake, sql, run, verify, expectComplete } = await hours();
    expect((await verify('--compare', '50')).found).toEqual([]);
    await sql`update klines set volume = volume + 0.00000001, trades_count = 7`;
    await sql`delete from klines where open_time <> '2024-02-20'`;
    const words = ['--from', '2024-02-20', '--to', '2024-02-20T01:00Z', '--compare', '5'];
    const { findings } = await verify(...words);
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({ check: 'differs', severity: 'error', count: 1 });
    expect(findings[0]?.examples[0]).toMatch(
      /^2024-02-20 volume \S+, exchange \S+, trades 7, exchange \d+ \(from rest\)$/,
    );
    await verify(...words, '--repair');
    const [row] = await sql`select trades_count from klines`;
    expect(row?.trades_count).not.toBe(7);
    const range = ['--since', HOURS.since, '--until', HOURS.until];
    await run('fetch-history', 'BTC/USDT', '--interval', '1h', ...range);
    await expectComplete();
    expect(fake.klinesRequests().length).toBeGreaterThan(0);
  });

  test('reports a candle that the exchange does not send, also after a repair', async () => {
    const { symbol, verify } = await hours();
    const at = Date.parse('2024-03-08T03:00Z');
    symbol.gaps = [{ fromMs: at, toMs: at + 3_600_000 }];
    // So many picks out of fifty candles leave none out.
    const words = ['--compare', '2000', '--from', '2024-03-08'];
    const wanted = { exitCode: EXIT.findings, found: ['1h differs 1'], repaired: [] };
    expect(await verify(...words)).toMatchObject(wanted);
    expect(await verify(...words, '--repair')).toMatchObject(wanted);
  });
});
