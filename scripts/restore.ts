import { DAY_MS, formatShort } from '../lib/base/mod.ts';
import { checkOrder, defineScript, main, option, readSymbols } from '../lib/cli/mod.ts';
import { findInstruments } from '../lib/store/mod.ts';
import { MOVE_OPTIONS, planAndMove } from './_move.ts';

const KEEP_MS = 7 * DAY_MS;

export const script = defineScript({
  name: 'restore',
  summary:
    'Move candles from the archive tables back to the main tables; archive does not move them again until --keep-until',
  examples: [
    'BTC/USDT --from 2023-01-01 --to 2023-02-01',
    'BTC/USDT ETH/USDT --from 2023-01-01 --to 2023-02-01 --interval 1m --keep-until 2030-01-01',
    'BTC/USDT --from 2023-01-01 --to 2023-02-01 --dry-run',
  ],
  options: {
    symbol: option.symbols.meta({
      positional: true,
      description: 'One or more, such as BTC/USDT',
    }),
    market: option.market.optional().describe('Market of symbols such as BTCUSDT: spot or usdm'),
    interval: option.interval.optional().describe('Only this interval'),
    from: option.instant.meta({ valueHint: 'time', description: 'First open time' }),
    to: option.instant.meta({
      valueHint: 'time',
      description: 'Only candles that open before this',
    }),
    keepUntil: option.instant.optional().meta({
      valueHint: 'time',
      description: 'When archive may move them again (default: 7 days from now)',
    }),
    ...MOVE_OPTIONS,
  },
  read({ symbol, market, interval, from, to, keepUntil, ...move }, refuse) {
    checkOrder({ from, to }, refuse);
    const soonMs = Date.now() + KEEP_MS;
    if (keepUntil !== undefined && keepUntil <= Date.now()) {
      const example = formatShort(Math.ceil(soonMs / DAY_MS) * DAY_MS);
      refuse(
        `--keep-until ${formatShort(keepUntil)} has passed. Expected a date in the future, such as ${example}.`,
      );
    }
    return {
      ...move,
      direction: 'restore' as const,
      symbols: readSymbols(symbol, market, refuse),
      intervals: interval && [interval],
      range: { fromMs: from, toMs: to },
      keepUntilMs: keepUntil ?? soonMs,
    };
  },
  writes: ({ dryRun }) => !dryRun,
  async run(options, context) {
    const { sql } = await context.database();
    const { symbols, range, keepUntilMs } = options;
    const span = `from ${formatShort(range.fromMs)} to ${formatShort(range.toMs)}`;
    return await planAndMove(options, await findInstruments(sql, symbols), context, {
      json: {
        from: new Date(range.fromMs).toISOString(),
        to: new Date(range.toMs).toISOString(),
        keepUntil: new Date(keepUntilMs).toISOString(),
      },
      range: span,
      nothing: `No candle ${span} is archived.`,
      moved: `restored; archive will not move them before ${formatShort(keepUntilMs)}`,
    });
  },
});

await main(import.meta, script);
