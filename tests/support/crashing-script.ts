/** A script that ends with an uncaught error, while its bar is on the screen. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from '../../lib/base/zod.ts';
import { main, type Script } from '../../lib/cli/main.ts';

export const script: Script<object> = {
  name: 'crashing-script',
  summary: 'Crashes',
  examples: [''],
  args: {},
  options: z.object({}),
  async run(_, { progress }) {
    progress.start(10, 'candles');
    progress.advance(3, 'BTC/USDT');
    setTimeout(() => {
      throw new Error('uncaught on purpose');
    }, 1_000);
    await sleep(60_000);
    return { json: {} };
  },
};

await main(import.meta, script);
