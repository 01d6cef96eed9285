import { resolve } from 'node:path';
import { formatBytes, formatCount, PROJECT_DIR, writeWholeFile } from '../lib/base/mod.ts';
import {
  type Context,
  defineScript,
  FILTER_OPTIONS,
  type Filter,
  main,
  option,
  readFilter,
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

export const script = defineScript({
  name: 'report',
  summary: 'Write one HTML file with daily coverage, sizes, archive runs and charts',
  examples: ['', '--symbol BTC/USDT,ETH/USDT --days 90', '--output /var/www/klines.html --quiet'],
  options: {
    ...FILTER_OPTIONS,
    interval: FILTER_OPTIONS.interval.describe(
      'Only this interval (default: the shortest that reaches about as far back as any)',
    ),
    days: option.wholeNumber(1, 3660).default(365).describe('Number of days to show'),
    output: option.file.optional().meta({
      valueHint: 'file',
      description: 'File to write (default: report.html in the project)',
    }),
  },
  read: ({ days, output = resolve(PROJECT_DIR, 'report.html'), ...filter }, refuse) => ({
    ...readFilter(filter, refuse),
    days,
    output: resolve(output),
  }),
  async run(options: Options, context) {
    const written = await writeReport(options, context);
    return {
      json: written,
      text: `${written.file}: ${formatCount(written.symbols)} symbols, ${written.days} days, ${formatBytes(written.bytes)}`,
    };
  },
});

await main(import.meta, script);
