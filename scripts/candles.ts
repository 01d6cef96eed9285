import { formatTime } from '../lib/base/mod.ts';
import {
  type Context,
  checkOrder,
  defineScript,
  main,
  type Outcome,
  option,
  readSymbol,
} from '../lib/cli/mod.ts';
import { INTERVALS, type Instrument } from '../lib/market/mod.ts';
import { type Candle, type CandlePlan, planCandles, readCandles } from '../lib/read/mod.ts';
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

export const script = defineScript({
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
  options: {
    symbol: option.symbol.meta({ positional: true, description: 'Such as BTC/USDT' }),
    interval: option.interval.meta({ positional: true, description: INTERVALS.join(' ') }),
    market: option.market.optional().describe('Market of a symbol such as BTCUSDT: spot or usdm'),
    from: option.instant.optional().meta({ valueHint: 'time', description: 'First open time' }),
    to: option.instant
      .optional()
      .meta({ valueHint: 'time', description: 'Only candles that open before this' }),
    limit: option
      .wholeNumber(1)
      .optional()
      .describe(
        `Maximum number of candles: the first ones with --from, otherwise the latest (default: ${DEFAULT_LIMIT})`,
      ),
    format: option.oneOf(FORMATS).default('table').describe(FORMATS.join(', ')),
  },
  read({ symbol, interval, market, from, to, limit, format }, refuse) {
    checkOrder({ from, to }, refuse);
    return {
      name: readSymbol(symbol, market, refuse),
      interval,
      fromMs: from,
      toMs: to,
      limit: limit ?? (from === undefined ? DEFAULT_LIMIT : undefined),
      format,
    };
  },
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
});

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
