/** The fake exchange as a program: prints its address as JSON and exits when its standard input ends. */
import { parseArgs } from 'node:util';
import { startFakeBinance } from './server.ts';
import { defaultSymbols } from './symbols.ts';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    symbols: { type: 'string', default: '0' },
    'latency-ms': { type: 'string', default: '0' },
    recordings: { type: 'string' },
    'now-ms': { type: 'string' },
  },
});

const fake = await startFakeBinance({
  port: Number(values.port),
  latencyMs: Number(values['latency-ms']),
  ...(values['now-ms'] ? { nowMs: Number(values['now-ms']) } : {}),
  ...(values.recordings
    ? { recordings: values.recordings }
    : { symbols: defaultSymbols(Number(values.symbols)) }),
});
process.stdout.write(`${JSON.stringify({ url: fake.url })}\n`);
process.stdin.resume().on('end', () => process.exit());
process.on('SIGTERM', () => process.exit());
