import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { createSemaphore } from '../../lib/base/parallel.ts';
import { wait } from '../../lib/base/retry.ts';
import { freshDatabase } from '../support/database.ts';
import { defaultSymbols } from '../support/fake-binance/symbols.ts';
import { runScript, startScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';

const semaphore = createSemaphore(1);
const acquireAndRelease = async (signal: AbortSignal) => (await semaphore.acquire(signal))();

test.each([
  ['wait()', (signal: AbortSignal) => wait(20, signal)],
  ['acquire()', acquireAndRelease],
])('%s: lets dozens wait on one signal without a warning', async (_, waitOn) => {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on('warning', note);
  onTestFinished(() => void process.off('warning', note));
  const { signal } = new AbortController();
  await Promise.all(Array.from({ length: 40 }, () => waitOn(signal)));
  // Node emits it in a later turn.
  await sleep(10);
  expect(warnings).toEqual([]);
});

test('update: prints no warning of Node while a dozen requests wait', async () => {
  const fake = await startExchange({ symbols: defaultSymbols(14) });
  const { url } = await freshDatabase();
  const env = { DATABASE_URL: url, ...fake.env };
  await runScript('sync-instruments', ['--market', 'spot', '--quote', 'USDT'], env);
  fake.faults.add({ kind: 503, times: 30 });
  const words = ['--interval', '1h', '--limit', '2', '--concurrency', '14', '--quiet'];
  const { stderr } = await startScript('update-klines', words, env).result;
  expect(stderr).toContain('Trying again');
  expect(stderr).not.toContain('MaxListeners');
});
