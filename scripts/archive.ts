import { cutoffMs } from '../lib/archive/mod.ts';
import { formatShort } from '../lib/base/mod.ts';
import { defineScript, FILTER_OPTIONS, main, option, readFilter } from '../lib/cli/mod.ts';
import { chooseInstruments } from '../lib/store/mod.ts';
import { MOVE_OPTIONS, planAndMove } from './_move.ts';

export const script = defineScript({
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
  options: {
    days: option
      .wholeNumber(1, 36_500)
      .meta({ positional: true, description: 'How many days to keep in the main tables' }),
    ...FILTER_OPTIONS,
    asOf: option.instant
      .prefault('now')
      .meta({ valueHint: 'time', description: 'Count the days back from this time' }),
    ...MOVE_OPTIONS,
  },
  read({ days, symbol, market, interval, asOf, ...move }, refuse) {
    if (asOf > Date.now())
      refuse(`--as-of ${formatShort(asOf)} is in the future. Expected now or earlier.`);
    return {
      ...move,
      ...readFilter({ symbol, market }, refuse),
      direction: 'archive' as const,
      intervals: interval && [interval],
      range: { fromMs: 0, toMs: cutoffMs(asOf, days) },
    };
  },
  writes: ({ dryRun }) => !dryRun,
  async run(options, context) {
    const { sql } = await context.database();
    const { toMs } = options.range;
    const range = `older than ${formatShort(toMs)}`;
    return await planAndMove(options, await chooseInstruments(sql, options), context, {
      json: { cutoff: new Date(toMs).toISOString() },
      range,
      nothing: `No candle is ${range}.`,
      moved: 'moved',
    });
  },
});

await main(import.meta, script);
