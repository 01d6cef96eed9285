import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { readColumns } from '../../lib/archive/tables.ts';
import { EXIT } from '../../lib/base/errors.ts';
import { addSteps, floorToGrid, INTERVALS } from '../../lib/market/intervals.ts';
import { withInstrumentLock } from '../../lib/store/locks.ts';
import { freshDatabase } from '../support/database.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import { doubleSlots, HOURS, MINUTES, openStore, prepareStore, startFake } from './support.ts';

const hours = prepareStore(HOURS);
const minutes = prepareStore(MINUTES);

describe('verify: finds empty slots', () => {
  test('in both tiers and across the boundary between them', async () => {
    const { sql, verify } = await hours();
    await sql`delete from klines where open_time >= '2024-02-20' and open_time < '2024-02-20 03:00'`;
    await sql`delete from klines_archive where open_time = '2024-01-10'`;
    const [edge] = await sql`select min(open_time) as first from klines`;
    await sql`delete from klines where open_time = ${edge!.first}`;
    await sql`delete from klines_archive where open_time = ${new Date(edge!.first.getTime() - 3_600_000)}`;
    const { exitCode, found, examples } = await verify();
    expect(exitCode).toBe(EXIT.findings);
    expect(found).toEqual(['1h missing 6']);
    expect(examples).toEqual([
      '2024-01-10 to 01:00 (1)',
      '2024-02-08 23:00 to 2024-02-09 01:00 (2)',
      '2024-02-20 to 03:00 (3)',
    ]);
  });

  test('at the start of a series, and in a whole series, if they were archived', async () => {
    const { sql, verify, expectComplete } = await hours();
    await sql`delete from klines_archive where open_time < '2024-01-05'`;
    expect((await verify()).found).toEqual(['1h missing 96']);
    await sql`truncate klines_archive, klines`;
    expect((await verify()).found).toEqual(['1h missing 936']);
    expect((await verify('--repair')).found).toEqual([]);
    await expectComplete(936);
  });

  test('reports the end of a series as stale, unless delisted or confirmed', async () => {
    const { sql, run } = await hours();
    const verify = async (...words: string[]) => {
      const { exitCode, stdout } = await run('verify-integrity', '--json', ...words);
      const { findings } = JSON.parse(stdout);
      return [
        exitCode,
        ...findings.map(
          (each: { severity: string; check: string }) => `${each.severity} ${each.check}`,
        ),
      ];
    };
    expect(await verify()).toEqual([EXIT.done, 'warning stale']);
    expect(await verify('--fail-on', 'warning')).toEqual([EXIT.findings, 'warning stale']);
    expect(await verify('--from', '7d')).toEqual([EXIT.done, 'warning stale']);
    expect(await verify('--to', '2024-03-01')).toEqual([EXIT.done]);
    await sql`update instruments set status = 'delisted', delisted_at = '2024-03-10 12:00Z'`;
    expect(await verify()).toEqual([EXIT.done]);
    await sql`delete from klines where open_time >= '2024-03-07'`;
    expect(await verify()).toEqual([EXIT.done, 'warning stale']);
    await sql`
      insert into confirmed_gaps (instrument_id, interval, from_time, to_time)
      select id, '1h', '2024-03-07', '2024-03-10' from instruments`;
    expect(await verify()).toEqual([EXIT.done]);
  });

  test('does not count an outage, or repeated rows, of a bulk file', async () => {
    const options = {
      ...MINUTES,
      intervals: ['1m'] as const,
      since: '2024-01-10',
      until: '2024-01-14',
    };
    const fake = await startFake(options);
    const [fromMs, toMs] = [Date.parse('2024-01-11T03:00Z'), Date.parse('2024-01-11T04:00Z')];
    fake.symbols.find(({ market, symbol }) => market === 'spot' && symbol === 'BTCUSDT')!.gaps = [
      { fromMs, toMs },
    ];
    await publish(fake, '2024-01-11', {
      interval: '1m',
      edit: (rows) => [...rows.slice(0, 10), ...rows.slice(5)],
    });
    // No row is repeated here, but two slots have two candles.
    const double = (row: RawRow, at: number) =>
      at < 2 ? [row, row.with(0, row[0] + 14_789) as RawRow] : [row];
    await publish(fake, '2024-01-12', { interval: '1m', edit: (rows) => rows.flatMap(double) });
    const { sql, verify } = await openStore(fake, options);
    const files = await sql`select rows from loaded_files order by name`;
    expect(files.map((file) => file.rows)).toEqual([1380, 1440]);
    expect((await verify()).found).toEqual([
      '1m confirmed-gap 60',
      '1m doubled-slot 2',
      '1m off-grid 2',
    ]);
  });

  test('reports what another run is adding as info, and repairs it later', async () => {
    const { sql, database, verify } = await hours();
    const other = database.openSession();
    await other`begin isolation level repeatable read`;
    await other`delete from klines where open_time < '2024-02-12'`;
    expect((await verify()).found).toEqual([]);
    await other`rollback`;

    await sql`delete from klines where open_time = '2024-02-20'`;
    expect((await verify()).exitCode).toBe(EXIT.findings);
    await other`set application_name = 'klinekeep fetch'`;
    const [instrument] = await sql`select id from instruments`;
    await withInstrumentLock(other, instrument?.id, async () => {
      const busy = await verify('--repair');
      expect(busy.found).toEqual(['1h missing 1']);
      expect(busy.findings[0]?.severity).toBe('info');
      expect(busy.examples[0]).toContain('fetch is running');
      expect(busy.exitCode).toBe(EXIT.later);
    });
    // An update holds the lock for a moment only.
    const update = withInstrumentLock(other, instrument?.id, () => sleep(1500));
    const [repaired] = await Promise.all([verify('--repair'), update]);
    expect(repaired).toMatchObject({ exitCode: EXIT.done, found: [] });
    await other.end();
  });
});

describe('verify: finds wrong candles', () => {
  test('in both tiers, not closed, or with impossible prices', async () => {
    const { sql, verify } = await hours();
    await sql`insert into klines_archive select * from klines where open_time in ('2024-02-20', '2024-02-21')`;
    await sql`update klines set close_time = '2100-01-01' where open_time = '2024-03-01'`;
    await sql`update klines set high_price = low_price / 1.2 where open_time = '2024-03-02'`;
    await sql`update klines_archive set low_price = high_price * 1.2 where open_time = '2024-01-02'`;
    const { exitCode, found } = await verify();
    expect(exitCode).toBe(EXIT.findings);
    expect(found).toEqual(['1h impossible-ohlc 2', '1h in-both-tiers 2', '1h not-closed 1']);
  });

  test('with an interval that Binance does not have, in either tier', async () => {
    const { sql, verify } = await hours();
    await sql`update klines_archive set interval = '7h' where open_time = '2024-01-01'`;
    await sql`update klines set interval = '1H' where open_time = '2024-03-01'`;
    const { found, examples } = await verify();
    expect(found).toEqual(['- unknown-interval 2', '1h missing 2']);
    expect(examples.join()).toContain('"7h" in klines_archive');
  });

  test('in the wrong tier, unless they were restored', async () => {
    const { sql, verify } = await hours();
    await sql`
      with moved as (delete from klines_archive where open_time = '2024-01-10' returning *)
      insert into klines select * from moved`;
    expect(await verify()).toMatchObject({ exitCode: EXIT.done, found: ['1h tier-boundary 1'] });
    const { row_hash } = await readColumns(sql, 'klines_archive');
    await sql`
      insert into archive_batches (run_id, instrument_id, interval, from_time, to_time, moved_rows, content_hash, direction)
      select (select min(id) from archive_runs), instrument_id, interval, open_time, open_time + interval '1 hour', 1,
        ${sql.unsafe(row_hash.text)}, 'restore'
      from klines where open_time = '2024-01-10'`;
    expect((await verify('--deep')).found).toEqual([]);
  });

  test('in a doubled slot, behind a thousand published ones', async () => {
    const { sql, verify } = await minutes();
    await doubleSlots(sql, 'klines', '2024-01-18', '2024-01-18 17:00Z');
    await sql`
      insert into published_oddities (instrument_id, interval, open_time, check_name, row_hash)
      select instrument_id, interval, slot_of('1m', open_time), 'doubled-slot',
        hash_array_extended(array_agg(open_time order by open_time), 0)
      from klines
      where interval = '1m'
      group by 1, 2, 3
      having count(*) > 1`;
    await doubleSlots(sql, 'klines', '2024-01-19 05:00Z', '2024-01-19 05:01Z');
    const { exitCode, found } = await verify();
    expect(exitCode).toBe(EXIT.findings);
    expect(found).toEqual([
      '1m doubled-slot 1',
      '1m doubled-slot published 1020',
      '1m off-grid 1021',
    ]);
  });

  test('that differ from their minutes, behind a thousand published ones', async () => {
    const archive = ['30', '--as-of', '2024-01-18'];
    const options = { ...MINUTES, intervals: ['1m', '3m'] as const, archive };
    const { sql, verify } = await openStore(await startFake(options), options);
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

  test('that differ from their minutes, in a confirmed gap that was filled', async () => {
    const { sql, verify } = await minutes();
    await sql`
      insert into confirmed_gaps (instrument_id, interval, from_time, to_time)
      select id, '1m', '2024-01-18 03:50Z', '2024-01-18 04:10Z' from instruments`;
    expect((await verify()).found).toEqual([]);
    await sql`update klines set volume = volume + 5 where interval = '1m' and open_time = '2024-01-18 03:05Z'`;
    expect((await verify()).found).toEqual(['1h rollup 1']);
  });
});

describe('verify: finds wrong tables', () => {
  test('whose columns differ from those of the candle table', async () => {
    const { sql, verify } = await hours();
    await sql`alter table btc_usdt add constraint extra check (true)`;
    expect((await verify()).exitCode).toBe(EXIT.done);
    await sql`alter table klines_archive detach partition btc_usdt_archive`;
    await sql`alter table btc_usdt_archive add column note text`;
    const { exitCode, findings } = await verify('--from', '2024-02-09');
    expect(exitCode).toBe(EXIT.findings);
    expect(findings.find(({ check }) => check === 'archive-shape')).toMatchObject({
      count: 1,
      examples: [expect.stringContaining('column 16 is note text, wanted none')],
    });
  });

  test('that were detached, without a record of their candles', async () => {
    const { sql, verify } = await hours();
    await sql`truncate archive_batches`;
    await sql`alter table klines detach partition btc_usdt`;
    await sql`alter table klines_archive detach partition btc_usdt_archive`;
    expect(await verify()).toMatchObject({
      exitCode: EXIT.findings,
      found: ['- not-attached 2'],
    });
  });
});

test('slot_of(), next_slot(): agree with floorToGrid() and addSteps()', async () => {
  const { sql } = await freshDatabase();
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
