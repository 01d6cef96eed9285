import { describeError, formatCount, formatShort } from '../lib/base/mod.ts';
import { isShutOut } from '../lib/binance/mod.ts';
import {
  type Context,
  checkOrder,
  defineScript,
  main,
  option,
  readSymbols,
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
import { formatCounts, formatOpenGaps, formatUndone, laterIfOpen } from './_text.ts';

interface Options extends FetchOptions {
  symbols: SymbolName[];
  concurrency: number;
}

/** Fetches the history of each symbol; one that fails does not stop the rest. */
async function fetchHistory(options: Options, context: Context) {
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

export const script = defineScript({
  name: 'fetch',
  summary: 'Download years of candles, skipping what is already stored or archived',
  examples: [
    'BTC/USDT',
    'BTC/USDT ETH/USDT --since 2020-01-01',
    'BTC/USDT:USDT --interval 1h --since 2y',
  ],
  options: {
    symbol: option.symbols.meta({
      positional: true,
      description: 'One or more: BTC/USDT, BTC/USDT:USDT, or BTCUSDT with --market',
    }),
    market: option.market
      .optional()
      .describe('spot (default) or usdm, for symbols such as BTCUSDT'),
    interval: option.interval.default('1m').describe('1s (spot only), 1m … 1M'),
    since: option.instant
      .prefault('5y')
      .describe('First open time: a date, a time, or a span before now such as 400d'),
    until: option.instant.prefault('now').describe('Only candles that open before this'),
    source: option
      .oneOf(SOURCES)
      .default('auto')
      .describe('auto (bulk files, then REST), bulk or rest'),
    refresh: option.flag.describe('Reload bulk files whose checksum has changed'),
    recheckGaps: option.flag.describe('Request confirmed gaps again'),
    concurrency: option.wholeNumber(1, 16).default(2).describe('Symbols fetched at the same time'),
  },
  read({ symbol, market, ...options }, refuse): Options {
    checkOrder({ since: options.since, until: options.until }, refuse);
    return { ...options, symbols: readSymbols(symbol, market, refuse) };
  },
  writes: () => true,
  async run(options, context) {
    const runs = await fetchHistory(options, context);
    throwIfOnlyFailure(runs);
    const { done, busy, failed } = sortResults(runs);
    const lines = [...done.map(formatFetched), ...formatUndone({ busy, failed })];
    return {
      exitCode: laterIfOpen(chooseExitCode(runs), done),
      json: { series: done, busy, failed },
      text: lines.join('\n'),
    };
  },
});

const ABSENT: Record<Source, string> = {
  auto: 'not at the exchange',
  rest: 'not at the exchange',
  bulk: 'not in the bulk files',
};

function formatFetched(series: FetchedSeries): string {
  const span = `${formatShort(Date.parse(series.from))} to ${formatShort(Date.parse(series.to))}`;
  const extra = formatCounts([
    [series.revised, 'corrected'],
    [series.disputed, 'disputed (see repairs)'],
    [series.rejected, 'rejected (see rejected_klines)'],
    [series.missing - series.openGaps, ABSENT[series.source]],
    [series.openGaps, formatOpenGaps(series)],
  ]);
  const more = extra.length > 0 ? `; ${extra.join(', ')}` : '';
  return `${series.symbol} ${series.interval}: +${formatCount(series.inserted)} candles, ${span}${more}`;
}

await main(import.meta, script);
