import { describeError, EXIT, formatCount, KlinekeepError, z } from '../lib/base/mod.ts';
import { isShutOut } from '../lib/binance/mod.ts';
import {
  type Context,
  FILTER_ARGS,
  type Filter,
  filterOptions,
  flag,
  main,
  readFilter,
  type Script,
  spanOption,
  wholeNumber,
} from '../lib/cli/mod.ts';
import {
  DEFAULT_LIMIT,
  findDownMarkets,
  findOrRegister,
  refreshMarkets,
  type SyncChanges,
  syncMarket,
  type UpdatedInstrument,
  type UpdatedSeries,
  updateInstrument,
} from '../lib/download/mod.ts';
import type { Instrument, Market } from '../lib/market/mod.ts';
import {
  addCounts,
  chooseExitCode,
  eachInstrument,
  findInstruments,
  type InstrumentResult,
  listInstruments,
  markForCheck,
  NOTHING_STORED,
  type StoreCounts,
  sortResults,
  throwIfOnlyFailure,
} from '../lib/store/mod.ts';
import { findStalled, formatStalled, isAllSilent } from './_stalled.ts';
import { formatUndone } from './_text.ts';

interface Options extends Filter {
  /** Undefined: the default, or all with `--force`. */
  limit: number | undefined;
  force: boolean;
  /** A series that has stalled for this long fails the run. Milliseconds. */
  stalledAfter: number;
  concurrency: number;
}

/** Another update needs seconds for an instrument. A longer lock is left to the next run. */
const PATIENCE_MS = 5_000;

/** Updates the series of each instrument; one that fails never stops the others. */
export async function updateKlines(options: Options, context: Context) {
  const database = await context.database();
  const source = await context.rest();
  const [clock] = await database.sql`select now() as now`;
  const registered = await chooseInstruments(options, context);
  const down = await findDownMarkets(registered, source);
  for (const [market, error] of down) context.log.error(`${market}: ${describeError(error)}`);
  const changes = await refreshMarkets(database.sql, source, registered, [...down.keys()]);
  for (const change of changes) logChanges(change, context);
  const instruments = changes.length > 0 ? await chooseInstruments(options, context) : registered;

  const place = (index: number) => `[${index + 1}/${instruments.length}]`;
  const results = await eachInstrument(
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
        onDone: (series) => context.log.info(`${place(turn.index)} ${formatSeries(series)}`),
        onFailed: (series, reason) =>
          context.log.error(`${place(turn.index)} ${series}: ${describeError(reason)}`),
      });
    },
  );
  const isLookedUp = new Set<Market>(changes.map(({ market }) => market));
  await lookUpStalled(results, options, context, isLookedUp);
  return results;
}

/**
 * Looks up whether the symbols of series that have stalled for long are still traded. What is no
 * longer traded has not stalled.
 */
async function lookUpStalled(
  results: readonly InstrumentResult<UpdatedInstrument>[],
  { stalledAfter }: Options,
  context: Context,
  isLookedUp: ReadonlySet<Market>,
): Promise<void> {
  const overdue = results.flatMap((each) => {
    const series = each.state === 'done' ? each.result.series : [];
    const isOverdue = series.some(({ stalledSeconds }) => stalledSeconds * 1000 >= stalledAfter);
    return isOverdue ? [{ instrument: each.instrument, series }] : [];
  });
  const markets = new Set(overdue.map(({ instrument }) => instrument.market));
  const { sql } = await context.database();
  for (const market of markets) {
    if (isLookedUp.has(market)) continue;
    const changes = await syncMarket(sql, await context.rest(), market).catch((error) =>
      context.log.warn(`Cannot look up which symbols are traded: ${describeError(error)}`),
    );
    if (!changes) continue;
    logChanges(changes, context);
    for (const { instrument, series } of overdue) {
      if (instrument.market !== market) continue;
      // The next run looks it up before it requests candles.
      if (!changes.delisted.includes(instrument.symbol)) await markForCheck(sql, instrument);
      else for (const each of series) each.stalledSeconds = 0;
    }
  }
}

function logChanges({ delisted, relisted }: SyncChanges, { log }: Context): void {
  for (const symbol of delisted) log.warn(`${symbol} is no longer traded: marked as delisted`);
  for (const symbol of relisted) log.info(`${symbol} is traded again`);
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

export const script: Script<Options> = {
  name: 'update',
  summary: 'Update all followed series, or only those selected, to the last closed candle',
  examples: [
    '',
    '--symbol BTC/USDT --interval 1m',
    '--market usdm --interval 4h --limit 2000',
    '--symbol BTC/USDT --interval 1h --limit 500 --force',
    '--quiet --stalled-after 30m',
  ],
  args: {
    ...FILTER_ARGS,
    limit: {
      type: 'string',
      description: 'Fill holes among this many of the latest candles',
      default: String(DEFAULT_LIMIT),
    },
    force: {
      type: 'boolean',
      description: 'Download the latest --limit candles again (default: all) and replace them',
    },
    'stalled-after': {
      type: 'string',
      description: 'Exit with 1 if Binance sends no new candles for this long',
      default: '10m',
    },
    concurrency: {
      type: 'string',
      description: 'Instruments updated at the same time',
      default: '12',
    },
  },
  options: z
    .object({
      ...filterOptions,
      limit: wholeNumber(1, 10_000_000).optional(),
      force: flag,
      'stalled-after': spanOption.prefault('10m'),
      concurrency: wholeNumber(1, 32).default(12),
    })
    .transform(
      ({ limit, force, 'stalled-after': stalledAfter, concurrency, ...choice }, context) => ({
        ...readFilter(choice, context),
        limit,
        force,
        stalledAfter,
        concurrency,
      }),
    ),
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
    const totals = {
      series: series.length,
      ...series.reduce<StoreCounts>((sum, each) => addCounts(sum, each), NOTHING_STORED),
    };
    const lines = [formatTotals(totals, stalled.length), ...formatUndone({ busy, failed })];
    const requests = (await context.rest()).totals();
    return {
      exitCode: failedSeries.length > 0 || hasOverdue ? EXIT.failed : chooseExitCode(runs),
      json: { ...totals, stalled, busy, failed, details: series, requests },
      text: lines.join('\n'),
    };
  },
};

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

function formatTotals(
  { series, inserted, revised, rejected }: StoreCounts & { series: number },
  stalled: number,
): string {
  const more = rejected > 0 ? `, ${formatCount(rejected)} rejected (see rejected_klines)` : '';
  const silent = stalled > 0 ? `, ${formatCount(stalled)} stalled` : '';
  return (
    `${formatCount(series - stalled)} series up to date${silent}: +${formatCount(inserted)} candles, ` +
    `${formatCount(revised)} corrected${more}`
  );
}

function formatSeries({ symbol, interval, inserted, revised, rejected }: UpdatedSeries): string {
  const more = `${revised > 0 ? `, ${revised} corrected` : ''}${rejected > 0 ? `, ${rejected} rejected` : ''}`;
  return `${symbol} ${interval}: +${inserted}${more}`;
}

await main(import.meta, script);
