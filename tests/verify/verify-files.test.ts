import { describe, expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { Interval } from '../../lib/market/intervals.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import { freshRole } from '../support/role.ts';
import { runScript } from '../support/script.ts';
import { startStore } from '../support/store.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

const DAY = '2024-01-15';
/** Not what verify lists as info about earlier repairs. */
const isFault = ({ check }: { check: string }) => check !== 'corrected';
const at = (time: string) => Date.parse(`${DAY}T${time}Z`);

/** A store with the hours of five days from REST, and the exchange's clock two days later. */
async function startHours(options: { archive?: boolean } = {}) {
  const store = await startStore({ nowMs: Date.parse('2024-01-20T04:00Z') });
  const { fake, sql, run } = store;
  const range = ['--since', '2024-01-13', '--until', '2024-01-18', '--source', 'rest'];
  await run('fetch-history', 'BTC/USDT', '--interval', '1h', ...range);
  if (options.archive) await run('archive', '1', '--as-of', '2024-01-17');
  const symbol = fake.symbols.find((each) => each.market === 'spot' && each.symbol === 'BTCUSDT')!;

  /** `found`: each finding as `1h missing 3`, without the end of the series. */
  const verify = async (...words: string[]) => {
    const before = fake.fileRequests().length;
    const range = ['--to', '2024-01-18', '--files', '--json'];
    const { exitCode, stdout, stderr } = await run('verify-integrity', ...range, ...words);
    const { findings: all, repaired, files } = JSON.parse(stdout);
    const findings = all.filter(isFault);
    const found = findings.map(
      (each: { interval: string; check: string; isPublished: boolean; count: number }) =>
        `${each.interval} ${each.check}${each.isPublished ? ' published' : ''} ${each.count}`,
    );
    const examples = findings.flatMap((each: { examples: string[] }) => each.examples);
    const requested = fake.fileRequests().slice(before);
    return { exitCode, stderr, found: found.sort(), examples, repaired, files, requested };
  };
  const volumeOf = async (time: string) => {
    const [row] =
      await sql`select tier, volume from both_tiers where open_time = ${new Date(at(time))}`;
    return `${row?.tier} ${row?.volume}`;
  };
  /** Every stored candle is what the exchange sends now. */
  const expectAsExchange = async (interval: Interval = '1h') => {
    const { rows } = await storedRows(sql, 'spot', 'BTC/USDT', interval);
    const [fromMs, toMs] = [Date.parse('2024-01-13'), Date.parse('2024-01-18') - 1];
    const wanted = await fake.candles('spot', 'BTCUSDT', interval, fromMs, toMs);
    expectSameRows(rows, expectedRows(wanted, Number.POSITIVE_INFINITY));
  };
  const compared = async () =>
    (await sql`select name, rows from compared_files order by name`).map(
      ({ name, rows }) => `${name} ${rows}`,
    );
  return { ...store, symbol, verify, volumeOf, expectAsExchange, compared };
}

const withVolume = (time: string, volume: string) => (rows: RawRow[]) =>
  rows.map((row) => (row[0] === at(time) ? (row.with(5, volume) as RawRow) : row));

describe('verify --files', () => {
  test('finds by the next night what Binance corrected five minutes after the close', async () => {
    const { fake, sql, run } = await startStore({ nowMs: at('10:00:20') });
    const update = async (...words: string[]) => {
      await run('update-klines', '--symbol', 'BTC/USDT', '--interval', '1m', ...words);
    };
    for (let minute = 0; minute < 8; minute++) {
      await update('--limit', '20');
      if (minute === 6) fake.revise('spot', 'BTCUSDT', at('10:01'));
      fake.nowMs = fake.nowMs! + 60_000;
    }
    fake.nowMs = Date.parse('2024-01-16T03:37Z');
    await update();
    const night = async (...words: string[]) => {
      const range = ['--from', '2024-01-09', '--to', '2024-01-17'];
      return await run('verify-integrity', ...range, '--files', '--json', ...words);
    };

    // The file is published a few hours after the first night.
    const early = await night('--repair');
    expect([early.exitCode, early.stderr]).toEqual([EXIT.done, '']);
    expect(await sql`select from compared_files`).toHaveLength(0);
    await publish(fake, DAY, { interval: '1m' });
    fake.nowMs = Date.parse('2024-01-17T03:37Z');
    await update();
    const { exitCode, stdout } = await night();
    expect(exitCode).toBe(EXIT.findings);
    expect(JSON.parse(stdout).findings).toMatchObject([
      { check: 'differs-from-file', severity: 'error', count: 1 },
    ]);
    expect(JSON.parse(stdout).findings[0].examples[0]).toMatch(
      /^2024-01-15 10:01 volume \S+, file \S+, .*\(BTCUSDT-1m-2024-01-15.zip\)$/,
    );
    expect(await sql`select from repairs`).toHaveLength(0);

    const repaired = await night('--repair');
    expect(repaired.exitCode).toBe(EXIT.done);
    expect(JSON.parse(repaired.stdout).findings.filter(isFault)).toEqual([]);
    const log = await sql`
      select open_time, source, decided_by, was->>'volume' as was, became->>'volume' as became
      from repairs`;
    expect(log).toMatchObject([
      { open_time: new Date(at('10:01')), source: 'rest', decided_by: 'rest' },
    ]);
    expect(Number(log[0]?.became) - Number(log[0]?.was)).toBeCloseTo(1e-5, 9);
    const requests = fake.fileRequests().length;
    await night('--repair');
    // Only the files that are not published yet.
    expect(fake.fileRequests().slice(requests)).not.toContain('BTCUSDT-1m-2024-01-15.zip');
    const { rows } = await storedRows(sql, 'spot', 'BTC/USDT', '1m');
    const wanted = await fake.candles('spot', 'BTCUSDT', '1m', at('09:40'), fake.nowMs);
    expectSameRows(rows, expectedRows(wanted, fake.nowMs));
  });

  test('repairs candles in both tiers, and remembers files that do not differ', async () => {
    const store = await startHours({ archive: true });
    const { fake, sql, run, verify, volumeOf, expectAsExchange, compared } = store;
    for (const day of ['2024-01-14', '2024-01-15', '2024-01-16', '2024-01-17'])
      await publish(fake, day);
    fake.revise('spot', 'BTCUSDT', at('05:00'));
    fake.revise('spot', 'BTCUSDT', Date.parse('2024-01-16T05:00Z'));
    await publish(fake, '2024-01-15');
    await publish(fake, '2024-01-16');
    const read = await verify();
    expect(read).toMatchObject({
      exitCode: EXIT.findings,
      found: ['1h differs-from-file 2'],
      files: 4,
    });
    expect(await compared()).toEqual([
      'BTCUSDT-1h-2024-01-14.zip 24',
      'BTCUSDT-1h-2024-01-17.zip 24',
    ]);
    const before = await volumeOf('05:00');
    const { found, exitCode, repaired } = await verify('--repair', '--deep');
    expect([exitCode, found]).toEqual([EXIT.done, []]);
    expect(repaired).toMatchObject([{ replaced: 2, filled: 0, asPublished: 0 }]);
    expect(before).toMatch(/^archive/);
    expect(await volumeOf('05:00')).not.toBe(before);
    expect(await sql`select tier from repairs order by tier`).toEqual([
      { tier: 'archive' },
      { tier: 'hot' },
    ]);
    expect((await verify('--deep')).found).toEqual([]);
    await expectAsExchange();

    // Another version of the reader reads them all again, also those that were loaded.
    expect((await verify()).requested).toEqual(['BTCUSDT-1h-2024-01-13.zip']);
    await sql`update compared_files set reader_version = reader_version - 1 where name like '%-15.zip'`;
    expect((await verify()).requested).toHaveLength(2);
    await publish(fake, '2024-01-13');
    await sql`delete from klines_archive where open_time < '2024-01-14'`;
    const range = ['--since', '2024-01-13', '--until', '2024-01-14'];
    await run('fetch-history', 'BTC/USDT', '--interval', '1h', ...range);
    expect(await sql`select rows from loaded_files`).toEqual([{ rows: 24 }]);
    expect((await verify()).requested).toEqual([]);
    await sql`update loaded_files set reader_version = reader_version - 1`;
    expect((await verify()).requested).toEqual(['BTCUSDT-1h-2024-01-13.zip']);
    expect((await verify()).requested).toEqual([]);
  });

  test('keeps the stored candle where REST confirms it, and logs what the file has', async () => {
    const { fake, sql, verify, volumeOf, expectAsExchange, compared } = await startHours();
    const edit = (rows: RawRow[]) =>
      withVolume('07:00', '99')(rows).filter((row) => row[0] !== at('09:00'));
    await publish(fake, DAY, { edit });
    const before = await volumeOf('07:00');
    expect((await verify()).found).toEqual(['1h differs-from-file 1', '1h not-in-file 1']);
    const repaired = await verify('--repair');
    expect(repaired).toMatchObject({
      exitCode: EXIT.done,
      found: ['1h differs-from-file published 1', '1h not-in-file published 1'],
    });
    expect(repaired.repaired).toMatchObject([{ replaced: 0, filled: 0, asPublished: 2 }]);
    expect(await volumeOf('07:00')).toBe(before);
    const log = await sql`
      select source, decided_by, offered->>'volume' as offered, was = became as is_kept from repairs`;
    expect(log).toMatchObject([
      { source: 'BTCUSDT-1h-2024-01-15.zip', decided_by: 'rest', is_kept: true },
    ]);
    expect(Number(log[0]?.offered)).toBe(99);
    expect(await compared()).toEqual(['BTCUSDT-1h-2024-01-15.zip 23']);
    expect(await verify('--repair')).toMatchObject({ found: [], repaired: [] });
    await expectAsExchange();
  });

  test('stores what the file has: from REST, or from the file if REST has no such candle', async () => {
    const { fake, symbol, sql, verify, expectAsExchange, compared } = await startHours();
    await publish(fake, DAY);
    const gap = (from: string, to: string) => sql`
      insert into confirmed_gaps (instrument_id, interval, from_time, to_time)
      select id, '1h', ${new Date(at(from))}, ${new Date(at(to))} from instruments`;
    const hours = ['03:00', '06:00', '07:00'].map((time) => new Date(at(time)));
    await sql`delete from klines where open_time in ${sql(hours)}`;
    await gap('06:00', '08:00');
    symbol.gaps = [{ fromMs: at('07:00'), toMs: at('08:00') }];
    const { found, examples } = await verify();
    expect(found).toEqual(['1h confirmed-gap 2', '1h missing 1', '1h not-stored 2']);
    expect(examples.join()).toContain('2024-01-15 06:00 only in BTCUSDT-1h-2024-01-15.zip');
    const repaired = await verify('--repair');
    expect(repaired).toMatchObject({ exitCode: EXIT.done, found: [] });
    expect(repaired.repaired).toMatchObject([{ filled: 3 }]);
    const log = await sql`select source, decided_by from repairs order by open_time`;
    expect(log.map((each) => [each.source, each.decided_by])).toEqual([
      ['rest', 'rest'],
      ['rest', 'rest'],
      ['BTCUSDT-1h-2024-01-15.zip', null],
    ]);
    expect(await compared()).toEqual(['BTCUSDT-1h-2024-01-15.zip 24']);
    symbol.gaps = [];
    await expectAsExchange();
  });

  test('repairs nothing while REST answers without candles, and continues without it', async () => {
    const { fake, sql, verify, volumeOf } = await startHours();
    await publish(fake, DAY, { edit: withVolume('07:00', '99') });
    const before = await volumeOf('07:00');
    fake.fail({ kind: 'empty', times: 9 });
    expect(await verify('--repair')).toMatchObject({
      exitCode: EXIT.findings,
      found: ['1h differs-from-file 1'],
      repaired: [],
    });
    fake.faults.clear();
    fake.fail({ kind: 'invalid-symbol', times: 9 });
    expect(await verify('--repair')).toMatchObject({
      exitCode: EXIT.findings,
      found: ['1h differs-from-file 1'],
    });
    expect(await volumeOf('07:00')).toBe(before);
    expect(await sql`select from compared_files`).toHaveLength(0);
    fake.faults.clear();
    expect((await verify('--repair')).exitCode).toBe(EXIT.done);
  });

  test('compares months of intervals without day files, and reports damaged files', async () => {
    const { fake, run, verify, compared } = await startHours();
    fake.nowMs = Date.parse('2024-02-20');
    for (const interval of ['3d', '1w', '1M'] as const) {
      const range = ['--since', '2023-12-01', '--until', '2024-02-15', '--source', 'rest'];
      await run('fetch-history', 'BTC/USDT', '--interval', interval, ...range);
    }
    fake.revise('spot', 'BTCUSDT', Date.parse('2024-01-01'));
    const names = [];
    for (const interval of ['3d', '1w', '1M'] as const)
      names.push(await publish(fake, '2024-01', { interval }));
    await publish(fake, DAY, { members: (members) => [...members, ...members] });
    const { found, stderr, exitCode } = await verify();
    expect(exitCode).toBe(EXIT.findings);
    // All three have a candle that opens on that Monday.
    expect(found).toEqual([
      '1M differs-from-file 1',
      '1h unverifiable-file 1',
      '1w differs-from-file 1',
      '3d differs-from-file 1',
    ]);
    expect(stderr).toBe('');
    expect((await verify('--repair')).found).toEqual(['1h unverifiable-file 1']);
    expect(await compared()).toHaveLength(3);
  });

  test('works with a role that may only read, and records nothing', async () => {
    const role = await freshRole();
    const { fake, sql, database } = await startHours();
    await publish(fake, DAY, { edit: withVolume('07:00', '99') });
    await publish(fake, '2024-01-16');
    await sql.unsafe(`
      grant select on all tables in schema public to ${role.name};
      alter role ${role.name} set default_transaction_read_only = on`);
    const env = { DATABASE_URL: role.as(database.url), ...fake.env };
    const words = ['--files', '--to', '2024-01-18', '--json'];
    const { exitCode, stdout } = await runScript('verify-integrity', words, env);
    expect(exitCode).toBe(EXIT.findings);
    expect(JSON.parse(stdout)).toMatchObject({
      files: 2,
      findings: [{ check: 'differs-from-file', count: 1 }],
    });
    expect(await sql`select from compared_files`).toHaveLength(0);
    await sql.unsafe(`drop owned by ${role.name}`);
  });
});
