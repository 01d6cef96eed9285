import { randomBytes } from 'node:crypto';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import { startScript } from '../support/script.ts';
import { makeFolder, startStore } from '../support/store.ts';
import { expectedRows, expectSameRows, storedRows } from '../support/stored.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30, 30);
const RANGE = ['--interval', '1h', '--since', '2024-01-01', '--until', '2024-02-01'];
const WORDS = ['BTC/USDT', ...RANGE];
/** Fills the last field, which is not read. */
const pad = (makeField: () => string) => (rows: RawRow[]) =>
  rows.map((row) => row.with(11, makeField()) as RawRow);
/** The zip, of 9 MB, is too large for the memory. */
const padRandomly = pad(() => randomBytes(12_000).toString('hex'));
/** The zip is small, but the CSV, of 27 MB, is too large. */
const padEvenly = pad(() => '0'.repeat(36_000));

async function setUp() {
  const store = await startStore({ nowMs: NOW });
  const { fake, sql, run } = store;
  const folder = await makeFolder();
  vi.stubEnv('TMPDIR', folder);
  const load = (...words: string[]) => run('fetch-history', ...WORDS, ...words);
  const expectComplete = async () => {
    const [fromMs, toMs] = [Date.UTC(2024, 0, 1), Date.UTC(2024, 1, 1)];
    const wanted = await fake.candles('spot', 'BTCUSDT', '1h', fromMs, toMs - 1);
    const { rows } = await storedRows(sql, 'spot', 'BTC/USDT', '1h');
    expectSameRows(rows, expectedRows(wanted, NOW));
    expect(readdirSync(folder)).toEqual([]);
    expect(openFiles(folder)).toEqual([]);
  };
  return { ...store, folder, load, expectComplete };
}

afterEach(() => {
  vi.unstubAllEnvs();
});

/** The files of a folder that this process has open, deleted ones included (Linux only). */
function openFiles(folder: string): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(folder) ? [path] : [];
    } catch {
      return [];
    }
  });
}

describe('a file that is too large for the memory', () => {
  test.each([
    ['a large zip', padRandomly],
    ['a small zip', padEvenly],
  ])('is stored exactly, from %s with a byte order mark and a header', async (_, edit) => {
    const { fake, sql, load, expectComplete } = await setUp();
    await publish(fake, '2024-01', { edit, header: true, text: (csv) => `\ufeff${csv}` });
    const result = await load('--source', 'bulk');
    expect(result).toMatchObject({
      exitCode: EXIT.done,
      stderr: expect.not.stringContaining('zip'),
    });
    await expectComplete();
    expect(await sql`select rows from loaded_files`).toEqual([{ rows: 744 }]);
    expect(await sql`select 1 from rejected_klines`).toEqual([]);
  });

  test('is read again when it has a row twice', async () => {
    const { fake, load, expectComplete } = await setUp();
    await publish(fake, '2024-01', { edit: (rows) => padRandomly([...rows, rows[700]!]) });
    expect((await load('--source', 'bulk')).stdout).toContain('+744 candles');
    await expectComplete();
  });

  test('is merged with what is stored, and its bad rows are rejected', async () => {
    const { fake, sql, run, load, expectComplete } = await setUp();
    await run('fetch-history', 'BTC/USDT', '--interval', '1h', '--since', '2024-01-31');
    await sql`delete from klines where open_time >= '2024-02-01'`;
    await publish(fake, '2024-01', { edit: padRandomly, text: (csv) => `no header\n${csv}x,y\n` });
    expect((await load('--source', 'bulk')).stdout).toContain('+720 candles');
    await expectComplete();
    expect(await sql`select raw from rejected_klines order by raw`).toEqual([
      { raw: 'no header' },
      { raw: 'x,y' },
    ]);
  });

  test.each([
    ['too small', 17_000_000],
    ['too large', 19_000_000],
  ])('stores nothing if the size in its directory is %s', async (_, claimedSize) => {
    const { fake, sql, load, expectComplete } = await setUp();
    const members = ([member]: { name: string; content: Buffer }[]) => [
      { ...member!, claimedSize },
    ];
    await publish(fake, '2024-01', { edit: padRandomly, members });
    const result = await load();
    expect(result.stderr).toContain('2024-01.zip: not a valid zip');
    expect(result.exitCode).toBe(EXIT.done);
    await expectComplete();
    expect(await sql`select 1 from loaded_files`).toEqual([]);
  });

  test('stores nothing if its checksum is wrong', async () => {
    const { fake, sql, load, expectComplete } = await setUp();
    const path = await publish(fake, '2024-01', { edit: padRandomly });
    fake.bulk.put(path, fake.bulk.get(path)!, '0'.repeat(64));
    expect((await load()).stderr).toContain('does not match its CHECKSUM, twice');
    await expectComplete();
    expect(await sql`select 1 from loaded_files`).toEqual([]);
  });

  test('is downloaded again when the connection is lost', async () => {
    const { fake, load, expectComplete } = await setUp();
    await publish(fake, '2024-01', { edit: padRandomly });
    fake.bulk.cuts = 1;
    const result = await load('--source', 'bulk');
    expect(result.stderr).toContain('Trying again in');
    await expectComplete();
  });

  test('ends the run with 78 when there is no room for it', async () => {
    const { fake, load, folder } = await setUp();
    await publish(fake, '2024-01', { edit: padRandomly });
    vi.stubEnv('TMPDIR', join(folder, 'missing'));
    const result = await load();
    expect(result.exitCode).toBe(EXIT.config);
    expect(result.stderr).toContain(`Cannot write a temporary file to ${join(folder, 'missing')}`);
    expect(result.stderr).toContain('set TMPDIR to another folder');
  });

  test('leaves no temporary file behind after SIGKILL', async () => {
    const { fake, folder, env } = await setUp();
    await publish(fake, '2024-01', { edit: padRandomly });
    const running = startScript('fetch-history', WORDS, { ...env, TMPDIR: folder });
    while (fake.fileRequests().length === 0) await sleep(5);
    await sleep(30);
    running.process.kill('SIGKILL');
    await running.result;
    // tsx has its cache there.
    expect(readdirSync(folder).filter((name) => name.startsWith('klinekeep'))).toEqual([]);
  });
});
