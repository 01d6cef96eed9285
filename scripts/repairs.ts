import { formatCount, formatShort, formatTable } from '../lib/base/mod.ts';
import {
  checkOrder,
  defineScript,
  FILTER_OPTIONS,
  main,
  option,
  readFilter,
  readSymbols,
} from '../lib/cli/mod.ts';
import { findInstruments, type LoggedRepair, listRepairs } from '../lib/store/mod.ts';

/** The last time that a four-digit year can have. */
const LAST_MS = Date.UTC(9999, 11, 31);

export const script = defineScript({
  name: 'repairs',
  summary:
    'List the stored candles that changed, and those for which two sources had different values: both values, and which one was stored',
  examples: ['', 'BTC/USDT --interval 1m', '--from 2020-12-21 --to 2020-12-22 --json'],
  options: {
    symbols: option.symbols
      .default([])
      .meta({ positional: true, description: 'Only these symbols' }),
    market: FILTER_OPTIONS.market,
    interval: FILTER_OPTIONS.interval,
    from: option.instant.optional().describe('Only candles that open at or after this'),
    to: option.instant.optional().describe('Only candles that open before this'),
    limit: option
      .wholeNumber(1, 1_000_000)
      .default(100)
      .describe('How many to list, the latest first'),
  },
  read({ symbols, market, interval, from, to, limit }, refuse) {
    checkOrder({ from, to }, refuse);
    return {
      ...readFilter({ market, interval }, refuse),
      symbols: readSymbols(symbols, market, refuse),
      range: { fromMs: from ?? 0, toMs: to ?? LAST_MS },
      limit,
    };
  },
  async run({ symbols, interval, range, limit }, context) {
    const { sql } = await context.database();
    const instruments = symbols.length > 0 ? await findInstruments(sql, symbols) : [];
    const { repairs, total } = await listRepairs(sql, { instruments, interval, range, limit });
    return { json: { total, repairs }, text: formatRepairs(repairs, total) };
  },
});

function formatRepairs(repairs: readonly LoggedRepair[], total: number): string {
  if (repairs.length === 0) return 'No stored candle changed, and no sources differed.';
  const rows = repairs.map((repair) => [
    formatShort(repair.repairedAt.getTime()),
    repair.symbol,
    repair.interval,
    formatShort(repair.openTime.getTime()),
    repair.differing ?? '',
    repair.was ? (repair.wasSource ?? 'unknown') : '',
    repair.source,
    nameResult(repair),
  ]);
  const head = [
    ...['logged (UTC)', 'symbol', 'int', 'candle (UTC)', 'stored / other'],
    ...['stored from', 'other from', 'result'],
  ];
  const more = total - repairs.length;
  const rest = more > 0 ? `\n${formatCount(more)} older ones; --limit lists more` : '';
  return `${formatTable(head, rows)}${rest}`;
}

/** What was done, and whether REST decided it. */
function nameResult({ was, became, offered, decidedBy }: LoggedRepair): string {
  const by = decidedBy === 'rest' ? ', as REST has it' : '';
  if (became === null) return 'deleted';
  if (was === null) return `added${by}`;
  if (isEqual(became, was)) return `kept${by}`;
  return isEqual(became, offered) ? `replaced${by}` : `replaced by a third value${by}`;
}

const isEqual = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

await main(import.meta, script);
