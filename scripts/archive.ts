import { cutoffMs } from '../lib/archive/mod.ts';
import { formatShort, z } from '../lib/base/mod.ts';
import {
  FILTER_ARGS,
  filterOptions,
  instantOption,
  main,
  readFilter,
  type Script,
  wholeNumber,
} from '../lib/cli/mod.ts';
import { chooseInstruments, type InstrumentFilter } from '../lib/store/mod.ts';
import {
  MOVE_ARGS,
  type Move,
  moveOptions,
  moveOutcome,
  movePlanned,
  planMove,
  planOutcome,
  readMove,
} from './_move.ts';

interface Options extends Move, InstrumentFilter {}

export const script: Script<Options> = {
  name: 'archive',
  summary:
    'Move candles older than DAYS days to the archive tables, in batches that are verified before they commit',
  examples: [
    '365',
    '365 --dry-run',
    '365 --gentle --max-runtime 10m',
    '30 --symbol BTC/USDT --interval 1m',
    '365 --as-of 2024-01-01',
  ],
  args: {
    days: {
      type: 'positional',
      description: 'How many days to keep in the main tables',
      required: true,
    },
    ...FILTER_ARGS,
    'as-of': {
      type: 'string',
      valueHint: 'time',
      description: 'Count the days back from this time',
      default: 'now',
    },
    ...MOVE_ARGS,
  },
  options: z
    .object({
      _: z
        .array(z.string())
        .min(1, 'DAYS is missing; wanted a whole number of days to keep, such as 365')
        .max(1, 'More than one DAYS is given; wanted one whole number'),
      ...filterOptions,
      'as-of': instantOption.prefault('now'),
      ...moveOptions,
    })
    .transform((options, context) => {
      const days = wholeNumber(1, 36_500).safeParse(options._[0]);
      if (!days.success) {
        context.addIssue({
          code: 'custom',
          message: `DAYS is ${JSON.stringify(options._[0])}; wanted a whole number from 1 to 36500`,
        });
      }
      if (options['as-of'] > Date.now()) {
        context.addIssue({
          code: 'custom',
          message: `--as-of ${formatShort(options['as-of'])} is in the future; wanted now or earlier`,
        });
      }
      const { interval, ...choice } = readFilter(options, context);
      return {
        ...choice,
        ...readMove(options),
        direction: 'archive' as const,
        intervals: interval && [interval],
        range: { fromMs: 0, toMs: cutoffMs(options['as-of'], days.data ?? 1) },
      };
    }),
  writes: ({ dryRun }) => !dryRun,
  async run(options, context) {
    const { sql } = await context.database();
    const plans = await planMove(options, await chooseInstruments(sql, options), context);
    const { toMs } = options.range;
    const json = { cutoff: new Date(toMs).toISOString() };
    if (options.dryRun) {
      return await planOutcome(options, plans, sql, json, {
        heading: `Would move the candles older than ${formatShort(toMs)}:`,
        nothing: `No candle is older than ${formatShort(toMs)}.`,
      });
    }
    const run = await movePlanned(options, plans, context);
    return moveOutcome(
      run,
      json,
      (rows) => `${rows} candles older than ${formatShort(toMs)} moved`,
    );
  },
};

await main(import.meta, script);
