/** A script that ends with an uncaught error, while its bar is on the screen. */
import { setTimeout as sleep } from 'node:timers/promises';
import { main } from '../../lib/cli/main.ts';
import { defineScript } from '../../lib/cli/script.ts';

export const script = defineScript({
  name: 'crashing-script',
  summary: 'Crashes',
  examples: [''],
  options: {},
  read: (values) => values,
  async run(_, { progress }) {
    progress.start(10, 'candles');
    progress.advance(3, 'BTC/USDT');
    setTimeout(() => {
      throw new Error('uncaught on purpose');
    }, 1_000);
    await sleep(60_000);
    return { json: {} };
  },
});

await main(import.meta, script);
