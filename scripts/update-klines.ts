import { EXIT, KlinekeepError } from '../lib/base/mod.ts';
import {
  type Context,
  defineScript,
  FILTER_OPTIONS,
  main,
  option,
  readFilter,
} from '../lib/cli/mod.ts';
import { DEFAULT_LIMIT, type OpenGapCounts } from '../lib/download/mod.ts';
import {
  addCounts,
  chooseExitCode,
  listInstruments,
  NOTHING_STORED,
  type StoreCounts,
  sortResults,
  throwIfOnlyFailure,
} from '../lib/store/mod.ts';
import { findStalled, formatStalled, isAllSilent } from './_stalled.ts';
import { formatUndone, laterIfOpen } from './_text.ts';
import { type UpdateOptions, updateKlines } from './_update.ts';
import { formatTotals } from './_update-text.ts';

export const script = defineScript({
  name: 'update',
  summary: 'Update all followed series, or only those selected, to the last closed candle',
  examples: [
    '',
    '--symbol BTC/USDT --interval 1m',
    '--market usdm --interval 4h --limit 2000',
    '--symbol BTC/USDT --interval 1h --limit 500 --force',
    '--quiet --stalled-after 30m',
  ],
  options: {
    ...FILTER_OPTIONS,
    limit: option.wholeNumber(1, 10_000_000).optional().meta({
      description: 'How many of the latest candles to check for holes, which are then filled',
      default: DEFAULT_LIMIT,
    }),
    force: option.flag.describe(
      'Download the latest --limit candles again (default: all) and replace them',
    ),
    stalledAfter: option.span
      .prefault('10m')
      .describe('Exit with 1 if Binance sends no new candles for this long'),
    concurrency: option
      .wholeNumber(1, 32)
      .default(12)
      .describe('Instruments updated at the same time'),
  },
  read: ({ limit, force, stalledAfter, concurrency, ...filter }, refuse): UpdateOptions => ({
    ...readFilter(filter, refuse),
    limit,
    force,
    stalledAfter,
    concurrency,
  }),
  writes: () => true,
  async run(options, context) {
    const runs = await updateKlines(options, context);
    throwIfOnlyFailure(runs);
    const { done, busy, failed: failedWhole } = sortResults(runs);
    const series = done.flatMap((instrument) => instrument.series);
    const failedSeries = done.flatMap((instrument) => instrument.failed);
    const failed = [...failedWhole, ...failedSeries];
    if (series.length + failed.length + busy.length === 0)
      await explainNothing(options, runs.length, context);
    const stalled = findStalled(series);
    const hasOverdue = stalled.some(({ seconds }) => seconds * 1000 >= options.stalledAfter);
    if (stalled.length > 0) {
      const level = hasOverdue ? 'error' : isAllSilent(series) ? 'warn' : 'info';
      context.log[level](formatStalled(stalled, series));
    }
    const counts = series.reduce<StoreCounts>(addCounts, NOTHING_STORED);
    const sum = (field: keyof OpenGapCounts) => series.reduce((all, each) => all + each[field], 0);
    const gaps = { openGaps: sum('openGaps'), oldOpenGaps: sum('oldOpenGaps') };
    const totals = { series: series.length, ...counts, ...gaps };
    const lines = [formatTotals(totals, stalled.length), ...formatUndone({ busy, failed })];
    const requests = (await context.rest()).totals();
    const hasFailed = failedSeries.length > 0 || hasOverdue;
    return {
      exitCode: hasFailed ? EXIT.failed : laterIfOpen(chooseExitCode(runs), series),
      json: { ...totals, stalled, busy, failed, details: series, requests },
      text: lines.join('\n'),
    };
  },
});

/** @throws KlinekeepError (64) when symbols were given */
async function explainNothing(
  { symbols, interval }: UpdateOptions,
  instruments: number,
  context: Context,
): Promise<void> {
  const nameSeries = 'To start a series, give --symbol and --interval, such as --interval 1m.';
  if (symbols.length > 0) {
    throw new KlinekeepError(
      'usage',
      'Nothing is stored for this symbol yet, so there is nothing to update.',
      { hint: interval ? 'It is no longer traded. fetch loads its history.' : nameSeries },
    );
  }
  if (instruments > 0) {
    context.log.warn(`Nothing is stored for the ${instruments} active instruments. ${nameSeries}`);
    return;
  }
  // An empty database is normal. One whose symbols were all delisted may need attention.
  const [registered] = await listInstruments((await context.database()).sql);
  const log = registered ? context.log.warn : context.log.info;
  log('No instrument is followed. Start with fetch or sync.');
}

await main(import.meta, script);
