import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import { seededRandom } from '../support/random.ts';
import { startStore } from '../support/store.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const HOUR = 3_600_000;
const VOLUME = 5;

async function setUp() {
  const store = await startStore({ nowMs: NOW });
  const { sql, run, fake } = store;
  return {
    ...store,
    fetch: (since: string, until: string, ...words: string[]) =>
      run('fetch-history', 'BTC/USDT', '--since', since, '--until', until, ...words),
    log: () => sql`
      select
        (extract(epoch from open_time) * 1000)::float8 as open_ms, tier, was_source, source, decided_by,
        (was ->> 'volume')::float8 as was,
        (offered ->> 'volume')::float8 as offered,
        (became ->> 'volume')::float8 as became
      from repairs
      order by id`,
    /** Stored volumes by open time. */
    volumes: async () => {
      const rows = await sql`select timestamp::float8 as open_ms, volume::float8 from all_klines`;
      return new Map<number, number>(rows.map((row) => [row.open_ms, row.volume]));
    },
    /** The volume that the exchange has now. */
    volumeAt: async (openMs: number, interval: '1h' | '1m' = '1h') => {
      const [row] = await fake.candles('spot', 'BTCUSDT', interval, openMs, openMs);
      return Number(row![VOLUME]);
    },
  };
}

const withVolume = (row: RawRow, volume: string) => row.with(VOLUME, volume) as RawRow;

/** Changes the volume of 50 minutes. */
const alter = (rows: RawRow[]) =>
  rows.map((row) => {
    const minute = (row[0] - Date.UTC(2020, 11, 21, 13)) / 60_000;
    return minute >= 0 && minute < 50 ? withVolume(row, '1234567') : row;
  });

test('a wrong month file: does not replace candles of the day file', async () => {
  const { fake, fetch, log, volumes, volumeAt } = await setUp();
  await publish(fake, '2020-12-21', { interval: '1m' });
  await fetch('2020-12-21', '2020-12-22', '--interval', '1m', '--source', 'bulk');
  await publish(fake, '2020-12', { interval: '1m', edit: alter });
  const result = await fetch('2020-12-01', '2021-01-01', '--interval', '1m', '--source', 'bulk');
  expect(result.stdout).toContain('; 50 disputed (see repairs)');
  expect(result.stdout).not.toContain('corrected');

  const logged = await log();
  expect(logged).toHaveLength(50);
  const firstMs = Date.UTC(2020, 11, 21, 13);
  const right = await volumeAt(firstMs, '1m');
  expect(logged[0]).toMatchObject({
    ...{ open_ms: firstMs, tier: 'hot', was: right, offered: 1234567, became: right },
    ...{ was_source: 'BTCUSDT-1m-2020-12-21.zip', source: 'BTCUSDT-1m-2020-12.zip' },
    decided_by: 'rest',
  });
  const stored = await volumes();
  for (let openMs = firstMs; openMs < firstMs + HOUR; openMs += 60_000)
    expect(stored.get(openMs)).toBe(await volumeAt(openMs, '1m'));
});

test('a wrong file: is corrected when the right one comes', async () => {
  const { fake, fetch, log, volumes, volumeAt, run } = await setUp();
  await publish(fake, '2020-12', { interval: '1m', edit: alter });
  await fetch('2020-12-01', '2021-01-01', '--interval', '1m', '--source', 'bulk');
  await publish(fake, '2020-12', { interval: '1m' });
  const result = await fetch('2020-12-01', '2021-01-01', '--interval', '1m', '--refresh');
  expect(result.stdout).toContain('; 50 corrected');
  const firstMs = Date.UTC(2020, 11, 21, 13);
  expect((await volumes()).get(firstMs)).toBe(await volumeAt(firstMs, '1m'));
  expect(await log()).toHaveLength(50);
  const { repairs, total } = JSON.parse(
    (await run('repairs', 'BTC/USDT', '--limit', '2', '--json')).stdout,
  );
  expect([repairs.length, total]).toEqual([2, 50]);
  const text = (await run('repairs', '--to', '2020-12-21T13:01Z')).stdout;
  expect(text).toMatch(
    /volume 1234567 \/ [\d.]+ .+BTCUSDT-1m-2020-12\.zip .+replaced, as REST has/,
  );
});

test.each([
  ['nothing stored', false],
  ['the right candle stored', true],
])('a file with two values for a candle, and %s: REST decides', async (_, isStored) => {
  const { fake, fetch, log, volumes, volumeAt } = await setUp();
  if (isStored) await fetch('2024-03-08', '2024-03-09', '--interval', '1h', '--source', 'rest');
  const edit = (rows: RawRow[]) => [...rows, withVolume(rows.at(-1)!, '99')];
  await publish(fake, '2024-03-08', { edit });
  // Two more days, so that the file is loaded although the day may be complete.
  await publish(fake, '2024-03', { edit });
  const result = await fetch('2024-03-08', '2024-03-10', '--interval', '1h');
  expect(result.exitCode).toBe(EXIT.done);
  const lastMs = Date.UTC(2024, 2, 8, 23);
  expect((await volumes()).get(lastMs)).toBe(await volumeAt(lastMs));
  if (isStored) return;
  expect(await log()).toMatchObject([
    { open_ms: lastMs, was: null, offered: 99, became: await volumeAt(lastMs), decided_by: 'rest' },
  ]);
});

test('a page with two values for a candle: the candle is requested again', async () => {
  const { fake, fetch, log, volumes, volumeAt } = await setUp();
  // The first request looks up when the symbol was listed.
  fake.fail({
    kind: 'garbage',
    times: 2,
    mutate: (rows) => [rows[0]!, withVolume(rows[0]!, '99'), ...rows.slice(1)],
  });
  await fetch('2024-03-08', '2024-03-09', '--interval', '1h', '--source', 'rest');
  const firstMs = Date.UTC(2024, 2, 8);
  expect((await volumes()).get(firstMs)).toBe(await volumeAt(firstMs));
  expect(await log()).toMatchObject([{ open_ms: firstMs, was: null, offered: 99 }]);
});

test('a correction over REST: is stored and logged, also by a top-up', async () => {
  const { fake, fetch, run, log, volumeAt } = await setUp();
  await fetch('2024-03-08', 'now', '--interval', '1h', '--source', 'rest');
  const lastMs = NOW - (NOW % HOUR) - HOUR;
  const was = await volumeAt(lastMs);
  fake.revise('spot', 'BTCUSDT', lastMs);
  expect((await run('update-klines')).stdout).toContain('1 corrected');
  await run('update-klines');
  const became = await volumeAt(lastMs);
  expect(await log()).toMatchObject([
    { open_ms: lastMs, was, offered: became, became, was_source: 'rest', source: 'rest' },
  ]);
  const report = JSON.parse((await run('verify-integrity', '--json')).stdout);
  expect(report.findings).toContainEqual(
    expect.objectContaining({ check: 'corrected', severity: 'info', count: 1 }),
  );
});

test('a symbol that REST does not serve: keeps its candles, and verify warns', async () => {
  const { fake, fetch, run, log, volumes, volumeAt } = await setUp();
  await publish(fake, '2024-01-15');
  await fetch('2024-01-15', '2024-01-16', '--interval', '1h', '--source', 'bulk');
  const openMs = Date.UTC(2024, 0, 15, 5);
  const edit = (rows: RawRow[]) =>
    rows.map((row) => (row[0] === openMs ? withVolume(row, '7') : row));
  await publish(fake, '2024-01', { edit });
  fake.fail({ kind: 'invalid-symbol', times: Number.POSITIVE_INFINITY });
  const result = await fetch('2024-01-01', '2024-02-01', '--interval', '1h', '--source', 'bulk');
  expect(result.stdout).toContain('1 disputed');
  expect((await volumes()).get(openMs)).toBe(await volumeAt(openMs));
  expect(await log()).toMatchObject([{ offered: 7, decided_by: null }]);
  const verified = await run('verify-integrity', '--fail-on', 'warning');
  expect(verified.exitCode).toBe(EXIT.findings);
  expect(verified.stdout).toMatch(/disputed +1 .+volume [\d.]+ \/ 7/);
});

test('an archived candle: stays until verify --repair', async () => {
  const { fake, fetch, run, log, volumes, volumeAt } = await setUp();
  const openMs = Date.UTC(2024, 0, 15, 5);
  await publish(fake, '2024-01');
  await fetch('2024-01-01', '2024-02-01', '--interval', '1h', '--source', 'bulk');
  await run('archive', '10', '--as-of', '2024-02-01');
  const was = await volumeAt(openMs);
  fake.revise('spot', 'BTCUSDT', openMs);
  const right = await volumeAt(openMs);
  await publish(fake, '2024-01');
  const refreshed = await fetch('2024-01-01', '2024-02-01', '--interval', '1h', '--refresh');
  expect(refreshed.stdout).toContain('1 disputed');
  expect((await volumes()).get(openMs)).toBe(was);
  expect((await log()).at(-1)).toMatchObject({ tier: 'archive', source: 'rest', was, became: was });

  const found = await run('verify-integrity', '--symbol', 'BTC/USDT');
  expect(found.exitCode).toBe(EXIT.findings);
  expect(found.stdout).toMatch(/outdated +1/);
  expect((await run('verify-integrity', '--repair', '--deep')).exitCode).toBe(EXIT.done);
  expect((await volumes()).get(openMs)).toBe(right);
});

test('any order of files, answers and corrections: REST decides, and the log explains it', async () => {
  const random = seededRandom();
  const { fake, sql, run, fetch, volumes, volumeAt } = await setUp();
  const days = ['2024-02-27', '2024-02-28', '2024-02-29'];
  const firstMs = Date.parse(days[0]!);
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)]!;
  const randomHour = () => firstMs + Math.floor(random() * 72) * HOUR;
  const damage = (rows: RawRow[]) =>
    random() < 0.5 ? rows : rows.map((row) => (random() < 0.1 ? withVolume(row, '5') : row));
  const range = ['2024-02-27', '2024-03-01', '--interval', '1h'] as const;
  const actions = {
    correct: async () => fake.revise('spot', 'BTCUSDT', randomHour()),
    publishDay: () => publish(fake, pick(days), { edit: damage }),
    publishMonth: () => publish(fake, '2024-02', { edit: damage }),
    fetchFiles: () => fetch(...range, '--source', 'bulk', '--refresh'),
    fetchRest: () => fetch(...range, '--source', 'rest'),
    force: () => run('update-klines', '--force', '--limit', '200'),
    lose: () => sql`delete from klines where open_time = ${new Date(randomHour())}`,
  };
  const names = Object.keys(actions) as (keyof typeof actions)[];
  for (let step = 0; step < 14; step++) {
    const name = pick(names);
    const earlier = await volumes();
    const [last] = await sql`select coalesce(max(id), 0)::int as id from repairs`;
    await actions[name]();
    const later = await volumes();
    for (const [openMs, was] of earlier) {
      const became = later.get(openMs);
      if (became === undefined || became === was) continue;
      expect([name, became]).toEqual([name, await volumeAt(openMs)]);
      const rows = await sql`
        select 1
        from repairs
        where id > ${last!.id}
          and open_time = ${new Date(openMs)}
          and (was ->> 'volume')::float8 = ${was}
          and (became ->> 'volume')::float8 = ${became}`;
      expect([name, rows.length > 0]).toEqual([name, true]);
    }
  }
  await fetch(...range);
  await run('update-klines', '--force', '--limit', '2000');
  for (const [openMs, volume] of await volumes()) expect(volume).toBe(await volumeAt(openMs));
});

test('a wrong month file that is loaded first: the day file and REST correct it', async () => {
  const { fake, fetch, run, log, volumes, volumeAt } = await setUp();
  await publish(fake, '2020-12', { interval: '1m', edit: alter });
  await fetch('2020-12-01', '2021-01-01', '--interval', '1m', '--source', 'bulk');
  await publish(fake, '2020-12-21', { interval: '1m' });
  const range = ['--from', '2020-12-20', '--to', '2020-12-23', '--files'];
  expect((await run('verify-integrity', ...range)).exitCode).toBe(EXIT.findings);
  expect((await run('verify-integrity', ...range, '--repair')).exitCode).toBe(EXIT.done);
  expect(await log()).toHaveLength(50);
  const stored = await volumes();
  const firstMs = Date.UTC(2020, 11, 21, 13);
  for (let openMs = firstMs; openMs < firstMs + HOUR; openMs += 60_000)
    expect(stored.get(openMs)).toBe(await volumeAt(openMs, '1m'));
});
