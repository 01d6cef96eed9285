import { resolve } from 'node:path';
import { formatCount, writeWholeFile, z } from '../lib/base/mod.ts';
import { main, type Script } from '../lib/cli/mod.ts';
import { collectMetrics } from '../lib/read/mod.ts';

interface Options {
  /** Absolute path; undefined: stdout. */
  output: string | undefined;
}

export const script: Script<Options> = {
  name: 'metrics',
  summary:
    "Print freshness, rows, runs and failures for Prometheus (node_exporter's textfile collector)",
  examples: ['', '--output /var/lib/node_exporter/textfile/klinekeep.prom --quiet'],
  args: {
    output: {
      type: 'string',
      valueHint: 'file',
      description: 'Replace this file in one step (default: print to stdout)',
    },
  },
  options: z
    .object({ output: z.string().min(1, 'the name of a file').optional() })
    .transform(({ output }) => ({ output: output === undefined ? undefined : resolve(output) })),
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
};

await main(import.meta, script);
