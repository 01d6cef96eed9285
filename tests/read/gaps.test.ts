import { describe, expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import type { FakeSymbol } from '../support/fake-binance/symbols.ts';
import { startStore } from '../support/store.ts';

const NOW = Date.UTC(2023, 3, 10);
const range = (from: string, to: string) => ({ fromMs: Date.parse(from), toMs: Date.parse(to) });

const OUTAGE = range('2023-03-24T13:00Z', '2023-03-24T14:00Z');
const UNKNOWN_OUTAGE = range('2023-03-10T05:00Z', '2023-03-10T07:00Z');
const HALT = range('2023-03-15T05:00Z', '2023-03-15T06:00Z');

/** Three symbols in hours: two outages, and a halt of the first. BTC's last outage is open. */
async function setUp() {
  const spot = (base: string, more: Partial<FakeSymbol> = {}): FakeSymbol => ({
    ...{ market: 'spot', symbol: `${base}USDT`, base, quote: 'USDT' },
    gaps: [OUTAGE, UNKNOWN_OUTAGE],
    ...more,
  });
  const btc = spot('BTC', {
    gaps: [OUTAGE, UNKNOWN_OUTAGE, HALT],
    listedMs: Date.parse('2023-02-20T00:00Z'),
  });
  const symbols = [btc, spot('ETH'), spot('BNB')];
  const { sql, run } = await startStore({ nowMs: NOW, symbols });
  const fetch = (...words: string[]) =>
    run(
      'fetch-history',
      'BTC/USDT',
      'ETH/USDT',
      'BNB/USDT',
      '--interval',
      '1h',
      '--source',
      'rest',
      ...words,
    );
  const dates = ['--since', '2023-03-01', '--until', '2023-04-01'];
  await fetch(...dates);
  await sql`update open_gaps set shown_at = shown_at - interval '5 minutes'`;
  await fetch(...dates);
  const list = async (...words: string[]) => {
    const { exitCode, stdout } = await run('gaps', '--json', ...words);
    expect(exitCode, stdout).toBe(EXIT.done);
    const { gaps } = JSON.parse(stdout);
    return gaps.map(
      (gap: { symbol: string; from: string; candles: number; reason: string }) =>
        `${gap.symbol} ${gap.from.slice(5, 13)} ${gap.candles} ${gap.reason}`,
    );
  };
  return { sql, run, fetch, list };
}

describe('gaps', () => {
  test('tells outages from halts, and what was not requested from the rest', async () => {
    const { sql, list } = await setUp();
    const until = ['--to', '2023-04-01'];
    expect(await list('--from', '2023-03-02', ...until)).toEqual([
      'BNB/USDT 03-10T05 2 exchange-wide outage',
      'BNB/USDT 03-24T13 1 exchange-wide outage',
      'BTC/USDT 03-10T05 2 exchange-wide outage',
      'BTC/USDT 03-15T05 1 trading halt',
      'BTC/USDT 03-24T13 1 exchange-wide outage',
      'ETH/USDT 03-10T05 2 exchange-wide outage',
      'ETH/USDT 03-24T13 1 exchange-wide outage',
    ]);
    await sql`delete from klines where open_time >= '2023-03-20' and open_time < '2023-03-20 04:00Z'`;
    expect(await list('btc/usdt', '--from', '2023-02-19', ...until)).toEqual([
      'BTC/USDT 02-19T00 24 before the listing',
      'BTC/USDT 02-20T00 216 not requested yet',
      'BTC/USDT 03-10T05 2 exchange-wide outage',
      'BTC/USDT 03-15T05 1 trading halt',
      'BTC/USDT 03-20T00 4 not requested yet',
      'BTC/USDT 03-24T13 1 exchange-wide outage',
    ]);
    await sql`
      insert into open_gaps (instrument_id, interval, from_time, to_time)
      select id, '1h', '2023-03-20', '2023-03-20 04:00Z' from instruments where symbol = 'BTC/USDT'`;
    const open = await list('BTC/USDT', '--from', '2023-03-20', '--to', '2023-03-21');
    expect(open).toEqual(['BTC/USDT 03-20T00 4 open']);
    expect(await list('BTC/USDT', '--interval', '1d')).toEqual([]);
  });

  test('names sources, times and references, in text, JSON and CSV', async () => {
    const { run } = await setUp();
    const words = ['BTC/USDT', '--from', '2023-03-15', '--to', '2023-04-01'];
    const json = JSON.parse((await run('gaps', ...words, '--json')).stdout);
    const times = { time: expect.stringMatching(/^20\d\d-/) };
    expect(json).toMatchObject({
      candles: 2,
      gaps: [
        {
          reason: 'trading halt',
          sources: [
            { source: 'rest', ...times },
            { source: 'rest', ...times },
          ],
        },
        {
          market: 'spot',
          interval: '1h',
          to: '2023-03-24T14:00:00Z',
          firstRequested: times.time,
          lastRequested: times.time,
          sources: [
            { source: 'rest', ...times },
            { source: 'outage of 2023-03-24', time: null },
          ],
          reference: expect.stringContaining('BTCUSDT-1m-2023-03-24.zip'),
        },
      ],
    });
    const { stdout } = await run('gaps', ...words);
    expect(stdout).toContain('exchange-wide outage');
    expect(stdout).toContain('See https://data.binance.vision/');
    expect(stdout).toContain('2 gaps, 2 candles: 1 trading halt, 1 exchange-wide outage');
    const csv = await run('gaps', ...words, '--csv', '--quiet');
    const lines = csv.stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toBe(
      'market,symbol,interval,from,to,candles,reason,first_requested,last_requested,sources,reference',
    );
    expect(lines[2]).toMatch(
      /^spot,BTC\/USDT,1h,2023-03-24T13:00:00Z,2023-03-24T14:00:00Z,1,exchange-wide outage,/,
    );
    for (const line of lines) expect(line.split(',')).toHaveLength(11);
  });

  test('cannot tell an outage from a halt by one symbol', async () => {
    const { sql, list } = await setUp();
    await sql`delete from klines where instrument_id <> (select id from instruments where symbol = 'BTC/USDT')`;
    expect(await list('--from', '2023-03-14', '--to', '2023-03-16')).toContain(
      'BTC/USDT 03-15T05 1 halt or outage',
    );
  });

  test('rejects a range that ends before it begins', async () => {
    const { run } = await startStore();
    const result = await run('gaps', '--from', '2023-03-14', '--to', '2023-03-01');
    expect(result.exitCode).toBe(EXIT.usage);
  });
});
