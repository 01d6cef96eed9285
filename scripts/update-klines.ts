import { ShutOutError } from '../lib/binance/answer.ts';
import type { RestSource } from '../lib/binance/rest.ts';
import { main, type Script } from '../lib/cli.ts';
import type { Context } from '../lib/context.ts';
import {
  describeUndone,
  eachInstrument,
  exitCodeOf,
  sortRuns,
  type Turn,
  throwIfOnlyFailure,
} from '../lib/each-instrument.ts';
import { describeError, EXIT, KlinekeepError } from '../lib/errors.ts';
import type { Download } from '../lib/history.ts';
import {
  findInstruments,
  findOrRegister,
  type Instrument,
  listInstruments,
} from '../lib/instruments.ts';
import type { Interval } from '../lib/intervals.ts';
import type { StoreCounts } from '../lib/klines.ts';
import {
  CHOICE_ARGS,
  type Choice,
  choiceOptions,
  flag,
  readChoice,
  wholeNumber,
} from '../lib/options.ts';
import { type StoredSeries, storedSeries } from '../lib/series.ts';
import type { Market } from '../lib/symbols.ts';
import { formatCount } from '../lib/table.ts';
import { replaceSeries, updateSeries } from '../lib/update.ts';
import { z } from '../lib/zod.ts';

interface Options extends Choice {
  /** Undefined: the default, or all with `--force`. */
  limit: number | undefined;
  force: boolean;
  concurrency: number;
}

/** How many of the latest candles a series must have when nobody says. */
const DEFAULT_LIMIT = 100;

export interface UpdatedSeries extends StoreCounts {
  symbol: string;
  interval: Interval;
  seconds: number;
}

/** Updates the series of each instrument; one that fails never stops the others. */
export async function updateKlines(options: Options, context: Context) {
  const database = await context.database();
  const instruments = await chooseInstruments(options, context);
  const source = await context.rest();
  const down = await findDownMarkets(instruments, source);

  const place = (index: number) => `[${index + 1}/${instruments.length}]`;
  const runs = await eachInstrument(
    database,
    instruments,
    {
      concurrency: options.concurrency,
      signal: context.signal,
      onHeld: ({ symbol }, index) =>
        context.log.info(`${place(index)} ${symbol}: held by another run, skipped`),
      onFailed: ({ symbol }, index, error) =>
        context.log.error(`${place(index)} ${symbol}: ${describeError(error)}`),
    },
    async (turn) => {
      const { instrument, index } = turn;
      const error = down.get(instrument.market);
      if (error) throw error;
      return await updateInstrument(options, context, turn, {
        done: (series) => context.log.info(`${place(index)} ${showSeries(series)}`),
        failed: (text) => context.log.error(`${place(index)} ${text}`),
      });
    },
  );
  return runs;
}

/**
 * The markets that cannot be asked, and why: their instruments fail, the others' do not.
 * @throws the reason when there is no other market: it is one error, not one for each instrument
 */
async function findDownMarkets(
  instruments: readonly Instrument[],
  source: RestSource,
): Promise<Map<Market, Error>> {
  const markets = [...new Set(instruments.map((instrument) => instrument.market))];
  const down = new Map<Market, Error>();
  for (const market of markets) {
    await source
      .serverTimeMs(market)
      .catch((error) => down.set(market, new Error(describeError(error), { cause: error })));
  }
  const [first] = down.values();
  if (first && down.size === markets.length) throw first.cause;
  return down;
}

async function chooseInstruments(options: Options, context: Context): Promise<Instrument[]> {
  const { sql } = await context.database();
  if (options.symbols.length === 0) {
    return await listInstruments(sql, { market: options.market, onlyActive: true });
  }
  // Without an interval there is nothing to begin: only what is registered has series.
  return options.interval
    ? await findOrRegister(sql, await context.rest(), options.symbols)
    : await findInstruments(sql, options.symbols);
}

/** What was done of one instrument; a series that fails does not stop its others. */
interface UpdatedInstrument {
  series: UpdatedSeries[];
  failed: { symbol: string; error: string }[];
}

async function updateInstrument(
  options: Options,
  context: Context,
  { session, instrument, signal }: Turn,
  say: { done: (series: UpdatedSeries) => void; failed: (text: string) => void },
): Promise<UpdatedInstrument> {
  const source = await context.rest();
  const stored = await storedSeries(session, instrument, options.interval && [options.interval]);
  const intervals = options.interval ? [options.interval] : stored.map((series) => series.interval);
  const updated: UpdatedInstrument = { series: [], failed: [] };
  for (const interval of intervals) {
    const known = stored.find((series) => series.interval === interval);
    try {
      const series = await updateOne(
        options,
        { source, session, series: { instrument, interval }, signal },
        known,
      );
      updated.series.push(series);
      say.done(series);
    } catch (error) {
      if (intervals.length === 1 || signal.aborted || error instanceof ShutOutError) throw error;
      const name = `${instrument.symbol} ${interval}`;
      updated.failed.push({ symbol: name, error: describeError(error) });
      say.failed(`${name}: ${describeError(error)}`);
    }
  }
  return updated;
}

async function updateOne(
  options: Options,
  download: Download,
  stored: StoredSeries | undefined,
): Promise<UpdatedSeries> {
  const startedMs = performance.now();
  const { instrument, interval } = download.series;
  const counts =
    options.force && stored
      ? await replaceSeries(download, stored, options.limit)
      : await updateSeries(download, stored, options.limit ?? DEFAULT_LIMIT);
  const seconds = Number(((performance.now() - startedMs) / 1000).toFixed(3));
  return { symbol: instrument.symbol, interval, ...counts, seconds };
}

export const script: Script<Options> = {
  name: 'update-klines',
  summary: 'Brings stored series up to the last closed candle: one symbol, or every active one',
  examples: [
    '',
    '--symbol BTC/USDT --interval 1m',
    '--market usdm --interval 4h --limit 2000',
    '--symbol BTC/USDT --interval 1h --limit 500 --force',
  ],
  args: {
    ...CHOICE_ARGS,
    limit: {
      type: 'string',
      description: 'How many of the latest candles must be there',
      default: String(DEFAULT_LIMIT),
    },
    force: {
      type: 'boolean',
      description: 'Download the latest --limit candles again (default: all) and replace them',
    },
    concurrency: { type: 'string', description: 'Instruments at the same time', default: '8' },
  },
  options: z
    .object({
      ...choiceOptions,
      limit: wholeNumber(1, 10_000_000).optional(),
      force: flag,
      concurrency: wholeNumber(1, 32).default(8),
    })
    .transform(({ limit, force, concurrency, ...choice }, context) => ({
      ...readChoice(choice, context),
      limit,
      force,
      concurrency,
    })),
  async run(options, context) {
    const runs = await updateKlines(options, context);
    throwIfOnlyFailure(runs);
    const { done, held, failed: failedWhole } = sortRuns(runs);
    const series = done.flatMap((instrument) => instrument.series);
    const failed = [...failedWhole, ...done.flatMap((instrument) => instrument.failed)];
    if (options.symbols.length > 0 && series.length + failed.length + held.length === 0) {
      throw new KlinekeepError(
        'usage',
        'Nothing is stored of this symbol yet, so there is nothing to update.',
        {
          hint: 'Say which series to begin, e.g. --interval 1m.',
        },
      );
    }
    if (runs.length > 0 && series.length + failed.length + held.length === 0) {
      context.log.warn(
        `Nothing is stored of the ${runs.length} active instruments. Say which series to begin, e.g. --interval 1m.`,
      );
    }
    const sum = (pick: (each: UpdatedSeries) => number) =>
      series.reduce((total, each) => total + pick(each), 0);
    const totals = {
      series: series.length,
      inserted: sum((each) => each.inserted),
      revised: sum((each) => each.revised),
      rejected: sum((each) => each.rejected),
    };
    const lines = [showTotals(totals), ...describeUndone({ held, failed })];
    return {
      exitCode: failed.length > 0 ? EXIT.failed : exitCodeOf(runs),
      json: { ...totals, held, failed, details: series },
      text: lines.join('\n'),
    };
  },
};

function showTotals({
  series,
  inserted,
  revised,
  rejected,
}: StoreCounts & { series: number }): string {
  const more = rejected > 0 ? `, ${formatCount(rejected)} rejected (see rejected_klines)` : '';
  return (
    `${formatCount(series)} series up to date: +${formatCount(inserted)} candles, ` +
    `${formatCount(revised)} corrected${more}`
  );
}

function showSeries({ symbol, interval, inserted, revised, rejected }: UpdatedSeries): string {
  const more = `${revised > 0 ? `, ${revised} corrected` : ''}${rejected > 0 ? `, ${rejected} rejected` : ''}`;
  return `${symbol} ${interval}: +${inserted}${more}`;
}

await main(import.meta, script);
