import { type BulkDownload, type BulkResult, loadBulk, refreshBulk } from '../lib/bulk-history.ts';
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
import { confirmedGaps, confirmGaps, forgetGaps, subtractRanges } from '../lib/gaps.ts';
import { addCounts, downloadTwice, listedAtMs } from '../lib/history.ts';
import { findOrRegister } from '../lib/instruments.ts';
import {
  clipRanges,
  countAllSlots,
  floorToGrid,
  type Interval,
  type TimeRange,
} from '../lib/intervals.ts';
import {
  flag,
  instantOption,
  intervalOption,
  marketOption,
  readSymbols,
  wholeNumber,
} from '../lib/options.ts';
import { fetchableRanges, missingRanges } from '../lib/series.ts';
import type { SymbolName } from '../lib/symbols.ts';
import { formatCount } from '../lib/table.ts';
import { DAY_MS, formatShort } from '../lib/time.ts';
import { z } from '../lib/zod.ts';

interface Options {
  symbols: SymbolName[];
  interval: Interval;
  since: number;
  until: number;
  source: Source;
  refresh: boolean;
  recheckGaps: boolean;
  concurrency: number;
}

const SOURCES = ['auto', 'bulk', 'rest'] as const;
type Source = (typeof SOURCES)[number];

/** REST pages asked for at the same time. */
const PAGE_CONCURRENCY = 4;
/** A gap is confirmed when it is older than this: what is younger may still be on its way. */
const GAP_SETTLES_MS = DAY_MS;

export interface FetchedSeries {
  symbol: string;
  interval: Interval;
  /** The range that was looked at: from the listing at the earliest, to the last closed candle. */
  from: string;
  to: string;
  inserted: number;
  revised: number;
  rejected: number;
  source: Source;
  /** Missing still: `source` does not have them. */
  missing: number;
}

/** Downloads what is missing of one series in the range, hot and archived candles together. */
async function fetchSeries(
  options: Options,
  context: Context,
  { session, instrument, signal, openHelper }: Turn,
): Promise<FetchedSeries> {
  const { interval, since, until } = options;
  const series = { instrument, interval };
  const download: BulkDownload = {
    source: await context.rest(),
    bulk: await context.bulk(),
    openHelper,
    session,
    series,
    signal,
    concurrency: PAGE_CONCURRENCY,
    onPage: ({ slots, untilMs, files }) => {
      const filesDone = files ? `, file ${files.done} of ${files.total}` : '';
      const position = `${instrument.symbol} ${interval} ${formatShort(untilMs)}${filesDone}`;
      context.progress.advance(slots, position);
    },
    onBadFile: (error) => context.log.warn(error.message),
  };
  const nowMs = await download.source.serverTimeMs(instrument.market);
  const listedMs = (await listedAtMs(download)) ?? since;
  const range: TimeRange = {
    fromMs: Math.max(floorToGrid(interval, since), floorToGrid(interval, listedMs)),
    toMs: Math.min(until, floorToGrid(interval, nowMs)),
  };
  if (options.recheckGaps) await forgetGaps(session, series, range);
  const fetchable = await fetchableRanges(session, series, range);
  context.progress.extend(countAllSlots(interval, fetchable));

  const { counts, missing } = await fillFrom(options, download, range, fetchable);
  if (options.source !== 'bulk') {
    const settled = { fromMs: 0, toMs: nowMs - GAP_SETTLES_MS };
    await confirmGaps(session, series, clipRanges(missing, settled));
  }
  // A gap that was confirmed once may have been filled since.
  const gaps: TimeRange[] = [];
  for (const gap of clipRanges(await confirmedGaps(session, series), range)) {
    gaps.push(...(await missingRanges(session, series, gap)));
  }
  const stillMissing = [...subtractRanges(missing, gaps), ...gaps];
  return {
    symbol: instrument.symbol,
    interval,
    from: new Date(range.fromMs).toISOString(),
    to: new Date(Math.max(range.fromMs, range.toMs)).toISOString(),
    ...counts,
    source: options.source,
    missing: countAllSlots(interval, stillMissing),
  };
}

/** Bulk files first, REST for the rest; `--source` allows only one of them. */
async function fillFrom(
  options: Options,
  download: BulkDownload,
  range: TimeRange,
  fetchable: TimeRange[],
): Promise<BulkResult> {
  const { session, series } = download;
  let result: BulkResult = { counts: { inserted: 0, revised: 0, rejected: 0 }, missing: fetchable };
  if (options.source !== 'rest') {
    const refreshed = options.refresh ? await refreshBulk(download, range) : result.counts;
    result = await loadBulk(download, fetchable);
    result.counts = addCounts(result.counts, refreshed);
  }
  if (options.source === 'bulk' || result.missing.length === 0) return result;

  const counts = await downloadTwice(download, result.missing, (first) => first.rejected > 0);
  const missing: TimeRange[] = [];
  for (const each of result.missing)
    missing.push(...(await fetchableRanges(session, series, each)));
  return { counts: addCounts(result.counts, counts), missing };
}

/** Fetches the history of each symbol; one that fails does not stop the rest. */
export async function fetchHistory(options: Options, context: Context) {
  const database = await context.database();
  const instruments = await findOrRegister(database.sql, await context.rest(), options.symbols);
  context.progress.start(0, 'candles');
  return await eachInstrument(
    database,
    instruments,
    {
      concurrency: options.concurrency,
      signal: context.signal,
      onHeld: (instrument) =>
        context.log.warn(`${instrument.symbol}: held by another run, skipped`),
      onFailed: (instrument, _, error) => {
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
    source: {
      type: 'string',
      description: 'auto (bulk files, then REST), bulk or rest',
      default: 'auto',
    },
    refresh: {
      type: 'boolean',
      description: 'Load bulk files again that were published anew since',
    },
    'recheck-gaps': {
      type: 'boolean',
      description: 'Ask again for what the exchange did not have',
    },
    concurrency: { type: 'string', description: 'Symbols at the same time', default: '2' },
  },
  options: z
    .object({
      _: z.array(z.string()).min(1, '!No symbol is given; wanted one or more, such as BTC/USDT'),
      market: marketOption.optional(),
      interval: intervalOption.prefault('1m'),
      since: instantOption.prefault('5y'),
      until: instantOption.prefault('now'),
      source: z.enum(SOURCES, { error: SOURCES.join(', ') }).default('auto'),
      refresh: flag,
      'recheck-gaps': flag,
      concurrency: wholeNumber(1, 16).default(2),
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
      const { source, refresh, 'recheck-gaps': recheckGaps, concurrency } = options;
      return { symbols, interval, since, until, source, refresh, recheckGaps, concurrency };
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

const ABSENT: Record<Source, string> = {
  auto: 'not at the exchange',
  rest: 'not at the exchange',
  bulk: 'not in the bulk files',
};

function showFetched(series: FetchedSeries): string {
  const span = `${formatShort(Date.parse(series.from))} to ${formatShort(Date.parse(series.to))}`;
  const extra = [
    series.revised > 0 ? `${formatCount(series.revised)} corrected` : '',
    series.rejected > 0 ? `${formatCount(series.rejected)} rejected (see rejected_klines)` : '',
    series.missing > 0 ? `${formatCount(series.missing)} ${ABSENT[series.source]}` : '',
  ].filter((part) => part !== '');
  const more = extra.length > 0 ? `; ${extra.join(', ')}` : '';
  return `${series.symbol} ${series.interval}: +${formatCount(series.inserted)} candles, ${span}${more}`;
}

await main(import.meta, script);
