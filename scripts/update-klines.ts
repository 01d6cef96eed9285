import { describeError, EXIT, KlinekeepError } from '../lib/base/mod.ts';
import { isShutOut } from '../lib/binance/mod.ts';
import {
  type Context,
  defineScript,
  FILTER_OPTIONS,
  type Filter,
  main,
  option,
  readFilter,
} from '../lib/cli/mod.ts';
import {
  DEFAULT_LIMIT,
  findDownMarkets,
  findOrRegister,
  refreshMarkets,
  updateInstrument,
} from '../lib/download/mod.ts';
import type { Instrument } from '../lib/market/mod.ts';
import {
  addCounts,
  chooseExitCode,
  eachInstrument,
  findInstruments,
  listInstruments,
  NOTHING_STORED,
  type StoreCounts,
  sortResults,
  throwIfOnlyFailure,
} from '../lib/store/mod.ts';
import { formatUndone } from './_text.ts';
import { formatSeries, formatTotals } from './_update-text.ts';

interface Options extends Filter {
  /** Undefined: the default, or all with `--force`. */
  limit: number | undefined;
  force: boolean;
  concurrency: number;
}

/** Another update needs seconds for an instrument. A longer lock is left to the next run. */
const PATIENCE_MS = 5_000;

/** Updates the series of each instrument; one that fails never stops the others. */
async function updateKlines(options: Options, context: Context) {
  const database = await context.database();
  const source = await context.rest();
  const [clock] = await database.sql`select now() as now`;
  const registered = await chooseInstruments(options, context);
  const down = await findDownMarkets(registered, source);
  for (const [market, error] of down) context.log.error(`${market}: ${describeError(error)}`);
  const changes = await refreshMarkets(database.sql, source, registered, [...down.keys()]);
  for (const { delisted, relisted } of changes) {
    for (const symbol of delisted)
      context.log.warn(`${symbol} is no longer traded: marked as delisted`);
    for (const symbol of relisted) context.log.info(`${symbol} is traded again`);
  }
  const instruments = changes.length > 0 ? await chooseInstruments(options, context) : registered;

  const place = (index: number) => `[${index + 1}/${instruments.length}]`;
  return await eachInstrument(
    database,
    instruments,
    {
      concurrency: options.concurrency,
      signal: context.signal,
      endsRun: isShutOut,
      patienceMs: PATIENCE_MS,
      onBusy: ({ symbol }, index) =>
        context.log.info(`${place(index)} ${symbol}: skipped, another run has locked it`),
      onFailed: ({ symbol, market }, index, error) => {
        // Already logged once for the market.
        if (error === down.get(market)) return;
        context.log.error(`${place(index)} ${symbol}: ${describeError(error)}`);
      },
    },
    async (turn) => {
      const error = down.get(turn.instrument.market);
      if (error) throw error;
      const updateOptions = { ...options, startedMs: clock?.now.getTime() };
      return await updateInstrument(source, turn, updateOptions, {
        onDone: (series) => {
          context.log.info(`${place(turn.index)} ${formatSeries(series)}`);
          if (series.isStalled)
            context.log.warn(`${series.symbol} ${series.interval}: the exchange sends nothing new`);
        },
        onFailed: (series, reason) =>
          context.log.error(`${place(turn.index)} ${series}: ${describeError(reason)}`),
      });
    },
  );
}

async function chooseInstruments(options: Options, context: Context): Promise<Instrument[]> {
  const { sql } = await context.database();
  if (options.symbols.length === 0) {
    return await listInstruments(sql, { market: options.market, onlyFollowed: true });
  }
  // Without an interval no new series can begin, so the symbols must be registered.
  return options.interval
    ? await findOrRegister(sql, await context.rest(), options.symbols)
    : await findInstruments(sql, options.symbols);
}

export const script = defineScript({
  name: 'update',
  summary: 'Update all followed series, or only those selected, to the last closed candle',
  examples: [
    '',
    '--symbol BTC/USDT --interval 1m',
    '--market usdm --interval 4h --limit 2000',
    '--symbol BTC/USDT --interval 1h --limit 500 --force',
  ],
  options: {
    ...FILTER_OPTIONS,
    limit: option.wholeNumber(1, 10_000_000).optional().meta({
      description: 'Fill holes among this many of the latest candles',
      default: DEFAULT_LIMIT,
    }),
    force: option.flag.describe(
      'Download the latest --limit candles again (default: all) and replace them',
    ),
    concurrency: option
      .wholeNumber(1, 32)
      .default(12)
      .describe('Instruments updated at the same time'),
  },
  read: ({ limit, force, concurrency, ...filter }, refuse): Options => ({
    ...readFilter(filter, refuse),
    limit,
    force,
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
    const totals = {
      series: series.length,
      ...series.reduce<StoreCounts>((sum, each) => addCounts(sum, each), NOTHING_STORED),
    };
    const lines = [formatTotals(totals), ...formatUndone({ busy, failed })];
    const requests = (await context.rest()).totals();
    return {
      exitCode: failedSeries.length > 0 ? EXIT.failed : chooseExitCode(runs),
      json: { ...totals, busy, failed, details: series, requests },
      text: lines.join('\n'),
    };
  },
});

/** @throws KlinekeepError (64) when symbols were given */
async function explainNothing(
  { symbols, interval }: Options,
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
