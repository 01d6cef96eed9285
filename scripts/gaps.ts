import {
  checkOrder,
  defineScript,
  FILTER_OPTIONS,
  main,
  option,
  readSymbols,
} from '../lib/cli/mod.ts';
import { listGaps } from '../lib/read/mod.ts';
import { chooseInstruments } from '../lib/store/mod.ts';
import { formatCsv, formatGaps, toJsonGap } from './_gaps-text.ts';

export const script = defineScript({
  name: 'gaps',
  summary:
    'List missing candles and why they are missing: outage, trading halt, not listed, not requested, not in the files, or open',
  examples: [
    '',
    'BTC/USDT',
    '--market spot --interval 1m --from 2021-01-01',
    'BTC/USDT --csv > gaps.csv',
  ],
  options: {
    symbols: option.symbols.default([]).meta({
      positional: true,
      description:
        'Only these symbols; also searches their candles for gaps that were not requested yet',
    }),
    market: FILTER_OPTIONS.market,
    interval: FILTER_OPTIONS.interval,
    from: option.instant.optional().describe('Only gaps that end after this'),
    to: option.instant.optional().describe('Only gaps that begin before this'),
    csv: option.flag.describe('Print CSV'),
  },
  read({ symbols, market, interval, from, to, csv }, refuse) {
    checkOrder({ from, to }, refuse);
    const names = readSymbols(symbols, market, refuse);
    return { symbols: names, market, interval, fromMs: from, toMs: to, csv };
  },
  async run({ symbols, market, csv, ...range }, context) {
    const { sql } = await context.database();
    const instruments = await chooseInstruments(sql, { symbols, market });
    const isSearched = symbols.length > 0;
    const gaps = await listGaps(sql, { ...range, instruments, isSearched, nowMs: Date.now() });
    const json = {
      gaps: gaps.map(toJsonGap),
      candles: gaps.reduce((sum, gap) => sum + gap.candles, 0),
    };
    if (!csv || context.wantsJson) return { json, text: formatGaps(gaps, isSearched) };
    await context.write(formatCsv(gaps));
    return { json };
  },
});

await main(import.meta, script);
