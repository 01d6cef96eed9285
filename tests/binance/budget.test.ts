import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { BannedError } from '../../lib/binance/answer.ts';
import { createBudget } from '../../lib/binance/budget.ts';
import type { RequestLedger } from '../../lib/binance/ledger.ts';
import { klinesWeight } from '../../lib/binance/weights.ts';
import { createRequestLedger } from '../../lib/store/request-ledger.ts';
import { freshDatabase } from '../support/database.ts';
import { startFakeBinance } from '../support/fake-binance/server.ts';
import { runScript } from '../support/script.ts';

const MINUTE = 60_000;
const BEGIN = Date.UTC(2024, 2, 10, 12, 30);

/** A budget of 100 a minute, on a clock that is set by hand and runs on. */
function budgetOf(ledger: RequestLedger, allowance = 100) {
  const clock = { offsetMs: BEGIN - Date.now() };
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const said: string[] = [];
  const budget = createBudget({
    market: 'usdm',
    allowance,
    ledger,
    nowMs: () => Date.now() + clock.offsetMs,
    signal: stop.signal,
    onWait: (message) => said.push(message),
  });
  const setTo = (timeMs: number) => {
    clock.offsetMs = timeMs - Date.now();
  };
  /** Spends until it has to wait. @returns how much went through */
  const spendAll = async (weight: number, times: number): Promise<number> => {
    let spent = 0;
    for (let at = 0; at < times; at++) {
      void budget.spend(weight).then(
        (settle) => {
          spent += weight;
          settle(undefined);
        },
        () => {},
      );
    }
    for (let before = -1; before !== spent; ) {
      before = spent;
      await new Promise((settle) => setTimeout(settle, 250));
    }
    return spent;
  };
  return { budget, setTo, spendAll, said };
}

async function ledger() {
  const { sql } = await freshDatabase();
  return { sql, ledger: createRequestLedger(sql) };
}

test('a burst goes through at once up to what the minute allows, the rest waits', async () => {
  const { spendAll, said } = budgetOf((await ledger()).ledger);
  expect(await spendAll(2, 80)).toBe(100);
  expect(said).toEqual([expect.stringContaining("This minute's weight is spent: going on at")]);
});

test('with the next minute of the exchange’s clock there is weight again', async () => {
  const { setTo, spendAll } = budgetOf((await ledger()).ledger);
  setTo(BEGIN + MINUTE - 800);
  expect(await spendAll(2, 50)).toBe(100);
  setTo(BEGIN + MINUTE + 5);
  expect(await spendAll(2, 60)).toBe(100);
});

test('two runs on one database together stay within the minute', async () => {
  const shared = (await ledger()).ledger;
  const runs = [budgetOf(shared), budgetOf(shared)];
  const spent = await Promise.all(runs.map((run) => run.spendAll(2, 80)));
  expect(spent[0]! + spent[1]!).toBeGreaterThan(95);
  expect(spent[0]! + spent[1]!).toBeLessThanOrEqual(100);
});

test('what other programs on the address spend counts: the exchange says so with each answer', async () => {
  const { budget, spendAll } = budgetOf((await ledger()).ledger);
  const settle = await budget.spend(1);
  settle(90);
  const more = await spendAll(1, 80);
  // What was leased before the answer came may still be spent.
  expect(more).toBeGreaterThanOrEqual(10);
  expect(more).toBeLessThanOrEqual(29);
  expect(budget.totals.highestMinute).toBe(90);
});

test('a count that was made in the minute before says nothing of this one', async () => {
  const { budget, setTo, spendAll } = budgetOf((await ledger()).ledger);
  const settle = await budget.spend(1);
  setTo(BEGIN + MINUTE + 100);
  settle(95);
  expect(await spendAll(1, 120)).toBe(100);
});

test('a pause is for all runs on the database, a ban ends them', async () => {
  const shared = await ledger();
  const [one, other] = [budgetOf(shared.ledger), budgetOf(shared.ledger)];
  await one.budget.pause(60_000, false);
  expect(await other.spendAll(1, 3)).toBe(0);
  expect(other.said).toEqual([expect.stringContaining('Binance asks to wait (429)')]);
  await one.budget.pause(3_600_000, true);
  await expect(budgetOf(shared.ledger).budget.spend(1)).rejects.toBeInstanceOf(BannedError);
});

test('a minute far ahead in the ledger is taken for a mistake, not waited for', async () => {
  const shared = await ledger();
  const ahead = budgetOf(shared.ledger);
  ahead.setTo(BEGIN + 365 * 24 * 60 * MINUTE);
  expect(await ahead.spendAll(2, 50)).toBe(100);
  expect(await budgetOf(shared.ledger).spendAll(2, 50)).toBe(100);
});

test('banned: the run ends with 75, and a later one makes no request at all', async () => {
  const fake = await startFakeBinance({ nowMs: BEGIN });
  onTestFinished(() => fake.close());
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

test('BINANCE_WEIGHT_PERCENT must be a percentage', async () => {
  const result = await runScript('update-klines', [], { BINANCE_WEIGHT_PERCENT: '0' });
  expect(result.exitCode).toBe(EXIT.config);
  expect(result.stderr).toContain('BINANCE_WEIGHT_PERCENT is "0": wanted 1 to 100');
});

test('pages cost what Binance says they cost', () => {
  const costs = (market: 'spot' | 'usdm', ...limits: number[]) =>
    limits.map((limit) => klinesWeight(market, limit));
  expect(costs('usdm', 1, 99, 100, 499, 500, 1000, 1001, 1500)).toEqual([1, 1, 2, 2, 5, 5, 10, 10]);
  expect(costs('spot', 1, 1000)).toEqual([2, 2]);
});
