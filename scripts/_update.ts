/** What the script update does: choose the instruments and update each. */
import { describeError } from '../lib/base/mod.ts';
import { isShutOut } from '../lib/binance/mod.ts';
import type { Context, Filter } from '../lib/cli/mod.ts';
import {
  findDownMarkets,
  findOrRegister,
  refreshMarkets,
  updateInstrument,
} from '../lib/download/mod.ts';
import type { Instrument } from '../lib/market/mod.ts';
import { eachInstrument, findInstruments, listInstruments } from '../lib/store/mod.ts';
import { formatSeries } from './_update-text.ts';

export interface UpdateOptions extends Filter {
  /** Undefined: the default, or all with `--force`. */
  limit: number | undefined;
  force: boolean;
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
