import { resolve } from 'node:path';
import { formatBytes, formatCount, PROJECT_DIR, writeWholeFile, z } from '../lib/base/mod.ts';
import {
  type Context,
  FILTER_ARGS,
  type Filter,
  filterOptions,
  main,
  readFilter,
  type Script,
  wholeNumber,
} from '../lib/cli/mod.ts';
import { collectReport, formatReport } from '../lib/read/mod.ts';
import { chooseInstruments } from '../lib/store/mod.ts';

interface Options extends Filter {
  days: number;
  /** Absolute path. */
  output: string;
}

/** Writes the report. */
async function writeReport(options: Options, context: Context) {
  const { sql } = await context.database();
  const instruments = await chooseInstruments(sql, options);
  context.progress.start(instruments.length, 'symbols');
  const data = await collectReport(sql, instruments, {
    days: options.days,
    interval: options.interval,
    nowMs: Date.now(),
    onSeries: (symbol) => {
      context.signal.throwIfAborted();
      context.progress.advance(1, symbol);
    },
  });
  context.progress.stop();
  const page = formatReport(data);
  await writeWholeFile(options.output, page);
  return {
    file: options.output,
    bytes: Buffer.byteLength(page),
    symbols: data.series.length,
    days: options.days,
    sampled: data.series.filter((each) => each.sampled !== undefined).length,
  };
}

export const script: Script<Options> = {
  name: 'report',
  summary: 'Write one HTML file with daily coverage, sizes, archive runs and charts',
  examples: ['', '--symbol BTC/USDT,ETH/USDT --days 90', '--output /var/www/klines.html --quiet'],
  args: {
    ...FILTER_ARGS,
    interval: {
      type: 'string',
      description: 'Only this interval (default: the shortest that reaches far back)',
    },
    days: { type: 'string', description: 'Number of days to show', default: '365' },
    output: {
      type: 'string',
      valueHint: 'file',
      description: 'File to write (default: report.html in the project)',
    },
  },
  options: z
    .object({
      ...filterOptions,
      days: wholeNumber(1, 3660).default(365),
      output: z.string().min(1, 'a file name').optional(),
    })
    .transform((options, context) => ({
      ...readFilter(options, context),
      days: options.days,
      output: options.output ? resolve(options.output) : resolve(PROJECT_DIR, 'report.html'),
    })),
  async run(options, context) {
    const written = await writeReport(options, context);
    return {
      json: written,
      text: `${written.file}: ${formatCount(written.symbols)} symbols, ${written.days} days, ${formatBytes(written.bytes)}`,
    };
  },
};

await main(import.meta, script);
