import { z } from 'zod';
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
import { describeError } from '../lib/errors.ts';
import { type Download, downloadTwice, listedAtMs } from '../lib/history.ts';
import { findOrRegister } from '../lib/instruments.ts';
import { countSlots, floorToGrid, type Interval, type TimeRange } from '../lib/intervals.ts';
import { instantOption, intervalOption, marketOption, readSymbols } from '../lib/options.ts';
import { missingRanges } from '../lib/series.ts';
import type { SymbolName } from '../lib/symbols.ts';
import { formatCount } from '../lib/table.ts';
import { formatShort } from '../lib/time.ts';

interface Options {
  symbols: SymbolName[];
  interval: Interval;
  since: number;
  until: number;
}

/** REST pages asked for at the same time. */
const PAGE_CONCURRENCY = 4;

export interface FetchedSeries {
  symbol: string;
  interval: Interval;
  /** The range that was looked at: from the listing at the earliest, to the last closed candle. */
  from: string;
  to: string;
  inserted: number;
  revised: number;
  rejected: number;
  /** Asked for, and not at the exchange. */
  notAtExchange: number;
}

/** Downloads what is missing of one series in the range, hot and archived candles together. */
async function fetchSeries(
  { interval, since, until }: Options,
  context: Context,
  { session, instrument, signal }: Turn,
): Promise<FetchedSeries> {
  const source = await context.rest();
  const series = { instrument, interval };
  const download: Download = {
    source,
    session,
    series,
    signal,
    concurrency: PAGE_CONCURRENCY,
    onPage: ({ slots, untilMs }) =>
      context.progress.advance(slots, `${instrument.symbol} ${interval} ${formatShort(untilMs)}`),
  };
  const listedMs = (await listedAtMs(download)) ?? since;
  const range: TimeRange = {
    fromMs: Math.max(floorToGrid(interval, since), floorToGrid(interval, listedMs)),
    toMs: Math.min(until, floorToGrid(interval, await source.serverTimeMs(instrument.market))),
  };

  const missing = await missingRanges(session, series, range);
  context.progress.start(slotsIn(interval, missing), 'candles');
  const counts = await downloadTwice(download, missing, (first) => first.rejected > 0);
  context.progress.stop();
  const stillMissing = missing.length === 0 ? [] : await missingRanges(session, series, range);
  return {
    symbol: instrument.symbol,
    interval,
    from: new Date(range.fromMs).toISOString(),
    to: new Date(Math.max(range.fromMs, range.toMs)).toISOString(),
    ...counts,
    notAtExchange: slotsIn(interval, stillMissing),
  };
}

function slotsIn(interval: Interval, ranges: readonly TimeRange[]): number {
  return ranges.reduce((sum, range) => sum + countSlots(interval, range), 0);
}

/** Fetches the history of each symbol, one after the other; one that fails does not stop the rest. */
export async function fetchHistory(options: Options, context: Context) {
  const database = await context.database();
  const instruments = await findOrRegister(database.sql, await context.rest(), options.symbols);
  return await eachInstrument(
    database,
    instruments,
    {
      concurrency: 1,
      signal: context.signal,
      onHeld: (instrument) =>
        context.log.warn(`${instrument.symbol}: held by another run, skipped`),
      onFailed: (instrument, _, error) => {
        context.progress.stop();
        if (instruments.length > 1)
          context.log.error(`${instrument.symbol}: ${describeError(error)}`);
      },
    },
    (turn) => fetchSeries(options, context, turn),
  );
}

export const script: Script<Options> = {
  name: 'fetch-history',
  summary: 'Fetches years of candles; never asks for what is stored or archived already',
  examples: [
    'BTC/USDT',
    'BTC/USDT ETH/USDT --since 2020-01-01',
    'BTC/USDT:USDT --interval 1h --since 2y',
  ],
  args: {
    symbol: {
      type: 'positional',
      description: 'BTC/USDT, BTC/USDT:USDT, or BTCUSDT with --market; several if you like',
      required: true,
    },
    market: { type: 'string', description: 'spot (default) or usdm, for symbols such as BTCUSDT' },
    interval: { type: 'string', description: '1m … 1M', default: '1m' },
    since: {
      type: 'string',
      description: 'First open time: a date, a time, or a span back such as 400d',
      default: '5y',
    },
    until: { type: 'string', description: 'Open times before this', default: 'now' },
    source: { type: 'string', description: 'rest', default: 'rest' },
  },
  options: z
    .object({
      _: z.array(z.string()).min(1, '!No symbol is given; wanted one or more, such as BTC/USDT'),
      market: marketOption.optional(),
      interval: intervalOption.prefault('1m'),
      since: instantOption.prefault('5y'),
      until: instantOption.prefault('now'),
      source: z.literal('rest', { error: 'rest' }).default('rest'),
    })
    .transform((options, context) => {
      const symbols = readSymbols(options._, options.market, context);
      const { interval, since, until } = options;
      if (since >= until) {
        context.addIssue({
          code: 'custom',
          message: `!--since ${formatShort(since)} is not before --until ${formatShort(until)}; wanted the earlier one first`,
        });
      }
      return { symbols, interval, since, until };
    }),
  async run(options, context) {
    const runs = await fetchHistory(options, context);
    throwIfOnlyFailure(runs);
    const { done, held, failed } = sortRuns(runs);
    const lines = [...done.map(showFetched), ...describeUndone({ held, failed })];
    return {
      exitCode: exitCodeOf(runs),
      json: { series: done, held, failed },
      text: lines.join('\n'),
    };
  },
};

function showFetched(series: FetchedSeries): string {
  const span = `${formatShort(Date.parse(series.from))} to ${formatShort(Date.parse(series.to))}`;
  const extra = [
    series.revised > 0 ? `${formatCount(series.revised)} corrected` : '',
    series.rejected > 0 ? `${formatCount(series.rejected)} rejected (see rejected_klines)` : '',
    series.notAtExchange > 0 ? `${formatCount(series.notAtExchange)} not at the exchange` : '',
  ].filter((part) => part !== '');
  const more = extra.length > 0 ? `; ${extra.join(', ')}` : '';
  return `${series.symbol} ${series.interval}: +${formatCount(series.inserted)} candles, ${span}${more}`;
}

await main(import.meta, script);
