/** What the script update does: choose the instruments and update each. */
import { describeError } from '../lib/base/mod.ts';
import { isShutOut } from '../lib/binance/mod.ts';
import type { Context, Filter } from '../lib/cli/mod.ts';
import {
  findDownMarkets,
  findOrRegister,
  refreshMarkets,
  type SyncChanges,
  syncMarket,
  type UpdatedInstrument,
  updateInstrument,
} from '../lib/download/mod.ts';
import type { Instrument, Market } from '../lib/market/mod.ts';
import {
  eachInstrument,
  findInstruments,
  type InstrumentResult,
  listInstruments,
  markForCheck,
} from '../lib/store/mod.ts';
import { formatSeries } from './_update-text.ts';

export interface UpdateOptions extends Filter {
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
export async function updateKlines(options: UpdateOptions, context: Context) {
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
  { stalledAfter }: UpdateOptions,
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

async function chooseInstruments(options: UpdateOptions, context: Context): Promise<Instrument[]> {
  const { sql } = await context.database();
  if (options.symbols.length === 0) {
    return await listInstruments(sql, { market: options.market, onlyFollowed: true });
  }
  // Without an interval no new series can begin, so the symbols must be registered.
  return options.interval
    ? await findOrRegister(sql, await context.rest(), options.symbols)
    : await findInstruments(sql, options.symbols);
}
