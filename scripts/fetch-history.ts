import { describeError, formatCount, formatShort, z } from '../lib/base/mod.ts';
import { isShutOut } from '../lib/binance/mod.ts';
import {
  type Context,
  flag,
  instantOption,
  intervalOption,
  main,
  marketOption,
  readSymbols,
  type Script,
  wholeNumber,
} from '../lib/cli/mod.ts';
import {
  type FetchedSeries,
  type FetchOptions,
  fetchSeries,
  findOrRegister,
  SOURCES,
  type Source,
} from '../lib/download/mod.ts';
import type { SymbolName } from '../lib/market/mod.ts';
import {
  chooseExitCode,
  eachInstrument,
  sortResults,
  throwIfOnlyFailure,
} from '../lib/store/mod.ts';
import { formatUndone } from './_text.ts';

interface Options extends FetchOptions {
  symbols: SymbolName[];
  concurrency: number;
}

/** Fetches the history of each symbol; one that fails does not stop the rest. */
export async function fetchHistory(options: Options, context: Context) {
  const database = await context.database();
  const sources = { rest: await context.rest(), bulk: await context.bulk() };
  const instruments = await findOrRegister(database.sql, sources.rest, options.symbols);
  context.progress.start(0, 'candles');
  return await eachInstrument(
    database,
    instruments,
    {
      concurrency: options.concurrency,
      signal: context.signal,
      endsRun: isShutOut,
      onBusy: (instrument) =>
        context.log.warn(`${instrument.symbol}: skipped, another run has locked it`),
      onFailed: (instrument, _, error) => {
        if (instruments.length > 1)
          context.log.error(`${instrument.symbol}: ${describeError(error)}`);
      },
    },
    (turn) =>
      fetchSeries(options, sources, turn, {
        onMissing: (candles) => context.progress.extend(candles),
        onPage: ({ slots, untilMs, files }) => {
          const filesDone = files ? `, file ${files.done} of ${files.total}` : '';
          const series = `${turn.instrument.symbol} ${options.interval}`;
          context.progress.advance(slots, `${series} ${formatShort(untilMs)}${filesDone}`);
        },
        onBadFile: (error) => context.log.warn(error.message),
      }),
  );
}

export const script: Script<Options> = {
  name: 'fetch',
  summary: 'Download years of candles, skipping what is already stored or archived',
  examples: [
    'BTC/USDT',
    'BTC/USDT ETH/USDT --since 2020-01-01',
    'BTC/USDT:USDT --interval 1h --since 2y',
  ],
  args: {
    symbol: {
      type: 'positional',
      description: 'One or more: BTC/USDT, BTC/USDT:USDT, or BTCUSDT with --market',
      required: true,
    },
    market: { type: 'string', description: 'spot (default) or usdm, for symbols such as BTCUSDT' },
    interval: { type: 'string', description: '1s … 1M', default: '1m' },
    since: {
      type: 'string',
      description: 'First open time: a date, a time, or a span before now such as 400d',
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
      description: 'Reload bulk files whose checksum has changed',
    },
    'recheck-gaps': {
      type: 'boolean',
      description: 'Request confirmed gaps again',
    },
    concurrency: { type: 'string', description: 'Symbols fetched at the same time', default: '2' },
  },
  options: z
    .object({
      _: z.array(z.string()).min(1, 'No symbol is given; wanted one or more, such as BTC/USDT'),
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
          message: `--since ${formatShort(since)} is not before --until ${formatShort(until)}; wanted the earlier one first`,
        });
      }
      const { source, refresh, 'recheck-gaps': recheckGaps, concurrency } = options;
      return { symbols, interval, since, until, source, refresh, recheckGaps, concurrency };
    }),
  writes: () => true,
  async run(options, context) {
    const runs = await fetchHistory(options, context);
    throwIfOnlyFailure(runs);
    const { done, busy, failed } = sortResults(runs);
    const lines = [...done.map(formatFetched), ...formatUndone({ busy, failed })];
    return {
      exitCode: chooseExitCode(runs),
      json: { series: done, busy, failed },
      text: lines.join('\n'),
    };
  },
};

const ABSENT: Record<Source, string> = {
  auto: 'not at the exchange',
  rest: 'not at the exchange',
  bulk: 'not in the bulk files',
};

function formatFetched(series: FetchedSeries): string {
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
