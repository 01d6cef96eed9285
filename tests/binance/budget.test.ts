import { describe, expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { BannedError } from '../../lib/binance/answer.ts';
import { createBudget } from '../../lib/binance/budget.ts';
import type { SharedPauses } from '../../lib/binance/pauses.ts';
import { klinesWeight } from '../../lib/binance/weights.ts';
import { createSharedPauses } from '../../lib/store/exchange-pauses.ts';
import { freshDatabase } from '../support/database.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';

const MINUTE = 60_000;
const BEGIN = Date.UTC(2024, 2, 10, 12, 30);

/** A budget on a clock that is set by hand and runs on. */
function createTestBudget(options: { pauses?: SharedPauses; allowance?: number } = {}) {
  const clock = { offsetMs: BEGIN - Date.now() };
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const messages: string[] = [];
  const budget = createBudget({
    market: 'usdm',
    allowance: options.allowance ?? 100,
    pauses: options.pauses,
    nowMs: () => Date.now() + clock.offsetMs,
    signal: stop.signal,
    onWait: (message) => messages.push(message),
  });
  const setTo = (timeMs: number) => {
    clock.offsetMs = timeMs - Date.now();
  };
  /** Spends until it has to wait. @returns how much was spent */
  const spendAll = async (weight: number, times: number): Promise<number> => {
    let spent = 0;
    for (let at = 0; at < times; at++) {
      void budget.spend(weight).then(
        () => {
          spent += weight;
        },
        () => {},
      );
    }
    for (let before = -1; before !== spent; ) {
      before = spent;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    return spent;
  };
  return { budget, setTo, spendAll, messages };
}

describe('budget', () => {
  test('spends at once what the minute allows, then waits', async () => {
    const { spendAll, messages } = createTestBudget();
    expect(await spendAll(2, 80)).toBe(100);
    expect(messages).toEqual([
      expect.stringContaining("This minute's weight is spent: continuing at"),
    ]);
  });

  test('continues with the next minute of the exchange’s clock', async () => {
    const { setTo, spendAll } = createTestBudget();
    setTo(BEGIN + MINUTE - 800);
    expect(await spendAll(2, 50)).toBe(100);
    setTo(BEGIN + MINUTE + 5);
    expect(await spendAll(2, 60)).toBe(100);
  });

  test('counts what other programs on the address spend', async () => {
    const { budget, spendAll } = createTestBudget();
    const reportUsed = await budget.spend(1);
    reportUsed(90);
    expect(await spendAll(1, 80)).toBe(10);
    expect(budget.totals.highestMinute).toBe(100);
  });

  test('ignores a count of the minute before', async () => {
    const { budget, setTo, spendAll } = createTestBudget();
    const reportUsed = await budget.spend(1);
    setTo(BEGIN + MINUTE + 100);
    reportUsed(95);
    expect(await spendAll(1, 120)).toBe(100);
  });

  test('keeps two runs together within the minute, but for requests under way', async () => {
    let counted = 0;
    const connections = 4;
    const runs = [createTestBudget({ allowance: 200 }), createTestBudget({ allowance: 200 })];
    const request = async ({ budget }: (typeof runs)[number]): Promise<void> => {
      while (true) {
        const reportUsed = await budget.spend(2);
        counted += 2;
        const header = counted;
        await new Promise((resolve) => setTimeout(resolve, 5));
        reportUsed(header);
      }
    };
    for (const run of runs)
      for (let at = 0; at < connections; at++) void request(run).catch(() => {});
    for (let before = -1; before !== counted; ) {
      before = counted;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    expect(counted).toBeGreaterThan(200 - 2 * connections * 2);
    expect(counted).toBeLessThanOrEqual(200 + 2 * connections * 2);
  });

  test('pauses all runs on the database; a ban ends them', async () => {
    const pauses = createSharedPauses((await freshDatabase()).sql);
    const [one, other] = [createTestBudget({ pauses }), createTestBudget({ pauses })];
    await one.budget.pause({ pauseMs: 60_000, isBan: false });
    expect(await other.spendAll(1, 3)).toBe(0);
    expect(other.messages).toEqual([expect.stringContaining('Binance asks to wait (429)')]);
    await one.budget.pause({ pauseMs: 3_600_000, isBan: true });
    await expect(createTestBudget({ pauses }).budget.spend(1)).rejects.toBeInstanceOf(BannedError);
  });

  test('notices within a second that another run has to pause', async () => {
    const pauses = createSharedPauses((await freshDatabase()).sql);
    const [one, other] = [createTestBudget({ pauses }), createTestBudget({ pauses })];
    expect(await other.spendAll(1, 3)).toBe(3);
    await one.budget.pause({ pauseMs: 60_000, isBan: false });
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(await other.spendAll(1, 3)).toBe(0);
  });
});

test('a ban: ends the run with 75, and later runs send no request', async () => {
  const fake = await startExchange({ nowMs: BEGIN });
  const { url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  const words = ['--symbol', 'BTC/USDT', '--interval', '1h'];
  fake.fail({ kind: 418, retryAfterS: 900, times: 1 });
  expect((await runScript('update-klines', words, env)).exitCode).toBe(EXIT.later);
  fake.requests = [];
  const later = await runScript('update-klines', words, env);
  expect(later.exitCode).toBe(EXIT.later);
  expect(later.stderr).toMatch(/banned this IP address until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ/);
  expect(fake.requests).toEqual([]);
  const fetch = await runScript('fetch-history', ['BTC/USDT', '--source', 'rest'], env);
  expect(fetch.exitCode).toBe(EXIT.later);
  expect(fake.requests).toEqual([]);
});

test('BINANCE_WEIGHT_PERCENT: must be a percentage', async () => {
  const result = await runScript('update-klines', [], { BINANCE_WEIGHT_PERCENT: '0' });
  expect(result.exitCode).toBe(EXIT.config);
  expect(result.stderr).toContain('BINANCE_WEIGHT_PERCENT is "0": wanted 1 to 100');
});

test('klinesWeight(): is what Binance says a page costs', () => {
  const costs = (market: 'spot' | 'usdm', ...limits: number[]) =>
    limits.map((limit) => klinesWeight(market, limit));
  expect(costs('usdm', 1, 99, 100, 499, 500, 1000, 1001, 1500)).toEqual([1, 1, 2, 2, 5, 5, 10, 10]);
  expect(costs('spot', 1, 1000)).toEqual([2, 2]);
});
