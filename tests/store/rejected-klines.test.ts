import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { listInstruments } from '../../lib/store/instruments.ts';
import { storeRejected } from '../../lib/store/rejected-klines.ts';
import { freshDatabase } from '../support/database.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);

async function setUp() {
  const fake = await startExchange({ nowMs: NOW });
  const database = await freshDatabase();
  const load = (...words: string[]) =>
    runScript('fetch-history', ['BTC/USDT', ...words], {
      DATABASE_URL: database.url,
      ...fake.env,
    });
  return { fake, ...database, load };
}

test('a file of bad lines: is counted, and its first 10,000 are stored', async () => {
  const { fake, sql, load } = await setUp();
  await publish(fake, '2024-02', {
    interval: '1m',
    edit: (rows) => rows.map((row) => row.with(1, '1.123456789') as typeof row),
  });
  const result = await load('--since', '2024-02-01', '--until', '2024-03-01', '--json');
  expect(result.exitCode).toBe(EXIT.done);
  expect(JSON.parse(result.stdout)).toMatchObject({
    series: [{ inserted: 29 * 1440, rejected: 29 * 1440, missing: 0 }],
  });
  const [kept] = await sql`select count(*)::int as lines, max(raw) as last from rejected_klines`;
  expect(kept?.lines).toBe(10_000);
  expect(kept?.last.split(',')[0]).toBe(String(Date.UTC(2024, 1, 1) + 9_999 * 60_000));
});

test('a bad line: is stored with U+FFFD for NUL and half a character', async () => {
  const { fake, sql, load } = await setUp();
  await publish(fake, '2024-01-15', {
    edit: ([first, second, ...rows]) => [
      first!.with(4, 'a\0b') as typeof first & object,
      // The reason is cut in the middle of the last one.
      second!.with(4, `${'x'.repeat(58)}😀`) as typeof first & object,
      ...rows,
    ],
  });
  const words = ['--interval', '1h', '--since', '2024-01-15', '--until', '2024-01-16'];
  const result = await load(...words, '--source', 'bulk');
  expect(result.exitCode).toBe(EXIT.done);
  expect(result.stdout).toContain('+22 candles');
  const rows = await sql`select raw, reason from rejected_klines order by raw`;
  expect(rows[0]?.raw).toContain(',a\ufffdb,');
  expect(rows[1]?.raw).toContain('x😀,');
  expect(rows[1]?.reason).toMatch(/x\ufffd$/);
});

test('two writers of the same bad lines: do not deadlock', async () => {
  const { sql, openSession, load } = await setUp();
  await load('--interval', '1d', '--since', '2024-03-01', '--until', '2024-03-02');
  const [instrument] = await listInstruments(sql);
  const lines = Array.from({ length: 3000 }, (_, index) => ({ raw: `${index}`, reason: 'bad' }));
  const write = (rejected: typeof lines) =>
    openSession().begin((tx) =>
      storeRejected(tx, { instrument: instrument!, interval: '1h' }, 'x', rejected),
    );
  for (let round = 0; round < 3; round++) {
    await Promise.all([write(lines), write(lines.toReversed())]);
    expect(await sql`delete from rejected_klines`).toMatchObject({ count: 3000 });
  }
});
