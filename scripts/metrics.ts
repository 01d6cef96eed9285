import { resolve } from 'node:path';
import { formatCount, writeWholeFile } from '../lib/base/mod.ts';
import { defineScript, main, option } from '../lib/cli/mod.ts';
import { collectMetrics } from '../lib/read/mod.ts';

export const script = defineScript({
  name: 'metrics',
  summary:
    "Print freshness, rows, runs and failures for Prometheus (node_exporter's textfile collector)",
  examples: ['', '--output /var/lib/node_exporter/textfile/klinekeep.prom --quiet'],
  options: {
    output: option.file.optional().meta({
      valueHint: 'file',
      description: 'Write to this file, replacing it atomically (default: print to stdout)',
    }),
  },
  read: ({ output }) => ({ output: output && resolve(output) }),
  async run({ output }, context) {
    const { sql } = await context.database();
    const metrics = await collectMetrics(sql, Date.now());
    if (output === undefined) return { json: { metrics }, text: metrics.trimEnd() };
    await writeWholeFile(output, metrics);
    const samples = metrics
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#')).length;
    return { json: { file: output, samples }, text: `${output}: ${formatCount(samples)} samples` };
  },
});

await main(import.meta, script);
