import { formatShort, formatTime, z } from '../lib/base/mod.ts';
import {
  type Context,
  instantOption,
  main,
  marketOption,
  type Outcome,
  readSymbols,
  type Script,
  wholeNumber,
} from '../lib/cli/mod.ts';
import {
  INTERVALS,
  type Instrument,
  type Interval,
  isInterval,
  type SymbolName,
} from '../lib/market/mod.ts';
import {
  type Candle,
  type CandlePlan,
  type CandleRange,
  planCandles,
  readCandles,
} from '../lib/read/mod.ts';
import { findInstruments } from '../lib/store/mod.ts';
import {
  CSV_HEAD,
  FORMAT_LINE,
  formatCandles,
  isIncomplete,
  toJsonCandle,
} from './_candle-text.ts';

const FORMATS = ['table', 'csv', 'ndjson'] as const;
const CHUNK_CHARACTERS = 64 * 1024;
/** Without --from, where all candles could be five years of minutes. */
const DEFAULT_LIMIT = 100;

interface Options extends CandleRange {
  name: SymbolName;
  interval: Interval;
  format: (typeof FORMATS)[number];
}

/** Writes candles in chunks as they arrive. @returns how many, and how many are incomplete */
async function stream(
  candles: AsyncIterable<Candle>,
  format: keyof typeof FORMAT_LINE,
  context: Context,
): Promise<{ rows: number; incomplete: number }> {
  const formatLine = FORMAT_LINE[format];
  let [rows, incomplete] = [0, 0];
  let chunk = format === 'csv' ? `${CSV_HEAD}\n` : '';
  for await (const candle of candles) {
    context.signal.throwIfAborted();
    rows += 1;
    if (isIncomplete(candle)) incomplete += 1;
    chunk += `${formatLine(candle)}\n`;
    if (chunk.length < CHUNK_CHARACTERS) continue;
    await context.write(chunk);
    chunk = '';
  }
  if (chunk !== '') await context.write(chunk);
  return { rows, incomplete };
}

export const script: Script<Options> = {
  name: 'candles',
  summary:
    'Print candles of any interval from both tiers; an interval that is not stored is computed from a shorter one',
  examples: [
    'BTC/USDT 1h',
    'BTC/USDT 1w --from 2023-01-01 --to 2024-01-01',
    'BTCUSDT 4h --market usdm --limit 10',
    'BTC/USDT 1m --from 30d --format csv > candles.csv',
    'BTC/USDT 1d --from 2020-01-01 --format ndjson | head',
  ],
  args: {
    symbol: { type: 'positional', description: 'Such as BTC/USDT', required: true },
    interval: { type: 'positional', description: INTERVALS.join(' '), required: true },
    market: { type: 'string', description: 'Market of a symbol such as BTCUSDT: spot or usdm' },
    from: { type: 'string', valueHint: 'time', description: 'First open time' },
    to: { type: 'string', valueHint: 'time', description: 'Open times before this' },
    limit: {
      type: 'string',
      description: `Maximum number: the first ones with --from, otherwise the latest (${DEFAULT_LIMIT})`,
    },
    format: { type: 'string', description: FORMATS.join(', '), default: 'table' },
  },
  options: z
    .object({
      _: z.array(z.string()),
      market: marketOption.optional(),
      from: instantOption.optional(),
      to: instantOption.optional(),
      limit: wholeNumber(1).optional(),
      format: z.enum(FORMATS, { error: `one of ${FORMATS.join(' ')}` }).default('table'),
    })
    .transform((options, context) => {
      const refuse = (message: string) => context.addIssue({ code: 'custom', message });
      const [symbol, interval] = options._;
      const names = symbol === undefined ? [] : readSymbols([symbol], options.market, context);
      if (options._.length > 2)
        refuse(`Surplus argument ${JSON.stringify(options._[2])}; wanted SYMBOL INTERVAL`);
      else if (symbol === undefined)
        refuse('SYMBOL and INTERVAL are missing; wanted both, such as BTC/USDT 1h');
      else if (interval === undefined || !isInterval(interval)) {
        const found = interval === undefined ? 'missing' : JSON.stringify(interval);
        refuse(`INTERVAL is ${found}; wanted one of ${INTERVALS.join(' ')}`);
      } else if (names.length > 1) refuse(`${symbol} is more than one symbol; wanted one`);
      const { from, to, limit } = options;
      if (from !== undefined && to !== undefined && from >= to)
        refuse(`--from ${formatShort(from)} is not before --to ${formatShort(to)}`);
      return {
        name: names[0] as SymbolName,
        interval: interval as Interval,
        fromMs: from,
        toMs: to,
        limit: limit ?? (from === undefined ? DEFAULT_LIMIT : undefined),
        format: options.format,
      };
    }),
  async run(options, context) {
    const { sql } = await context.database();
    const [instrument] = await findInstruments(sql, [options.name]);
    const plan = await planCandles(
      sql,
      instrument as Instrument,
      options.interval,
      options,
      Date.now(),
    );
    const candles = readCandles(sql, plan, options.limit);
    const { format } = options;
    if (format !== 'table' && !context.wantsJson) {
      const counts = await stream(candles, format, context);
      logIncomplete(counts.incomplete, context);
      return { json: counts };
    }
    return await collect(plan, candles, context);
  },
};

async function collect(
  plan: CandlePlan,
  stored: AsyncIterable<Candle>,
  context: Context,
): Promise<Outcome> {
  const candles: Candle[] = [];
  for await (const candle of stored) {
    context.signal.throwIfAborted();
    candles.push(candle);
  }
  logIncomplete(candles.filter(isIncomplete).length, context);
  return {
    json: {
      symbol: plan.instrument.symbol,
      market: plan.instrument.market,
      interval: plan.interval,
      sources: plan.sources.map(({ interval, fromMs, toMs }) => ({
        interval,
        from: formatTime(fromMs),
        to: formatTime(toMs),
      })),
      candles: candles.map(toJsonCandle),
    },
    ...(context.wantsJson ? {} : { text: formatCandles(candles) }),
  };
}

function logIncomplete(count: number, { log }: Context): void {
  if (count > 0) log.info(`${count} ${count === 1 ? 'candle is' : 'candles are'} incomplete`);
}

await main(import.meta, script);
