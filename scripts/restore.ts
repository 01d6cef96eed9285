import { DAY_MS, formatShort, z } from '../lib/base/mod.ts';
import {
  instantOption,
  intervalOption,
  main,
  marketOption,
  readSymbols,
  type Script,
} from '../lib/cli/mod.ts';
import type { SymbolName } from '../lib/market/mod.ts';
import { findInstruments } from '../lib/store/mod.ts';
import {
  MOVE_ARGS,
  type Move,
  moveOptions,
  moveOutcome,
  movePlanned,
  planMove,
  planOutcome,
  readMove,
} from './_move.ts';

interface Options extends Move {
  symbols: readonly SymbolName[];
  keepUntilMs: number;
}

const KEEP_MS = 7 * DAY_MS;

export const script: Script<Options> = {
  name: 'restore',
  summary:
    'Move candles from the archive tables back to the main tables; archive does not move them again until --keep-until',
  examples: [
    'BTC/USDT --from 2023-01-01 --to 2023-02-01',
    'BTC/USDT ETH/USDT --from 2023-01-01 --to 2023-02-01 --interval 1m --keep-until 2030-01-01',
    'BTC/USDT --from 2023-01-01 --to 2023-02-01 --dry-run',
  ],
  args: {
    symbol: {
      type: 'positional',
      description: 'One or more, such as BTC/USDT',
      required: true,
    },
    market: { type: 'string', description: 'Market of symbols such as BTCUSDT: spot or usdm' },
    interval: { type: 'string', description: 'Only this interval' },
    from: { type: 'string', valueHint: 'time', description: 'First open time' },
    to: { type: 'string', valueHint: 'time', description: 'Open times before this' },
    'keep-until': {
      type: 'string',
      valueHint: 'time',
      description: 'When archive may move them again (default: 7 days from now)',
    },
    ...MOVE_ARGS,
  },
  options: z
    .object({
      _: z.array(z.string()).min(1, 'SYMBOL is missing; wanted a symbol such as BTC/USDT'),
      market: marketOption.optional(),
      interval: intervalOption.optional(),
      from: instantOption,
      to: instantOption,
      'keep-until': instantOption.optional(),
      ...moveOptions,
    })
    .transform((options, context) => {
      const { from, to, interval } = options;
      const keepUntilMs = options['keep-until'] ?? Date.now() + KEEP_MS;
      if (from >= to) {
        context.addIssue({
          code: 'custom',
          message: `--from ${formatShort(from)} is not before --to ${formatShort(to)}`,
        });
      }
      if (keepUntilMs <= Date.now()) {
        context.addIssue({
          code: 'custom',
          message: `--keep-until ${formatShort(keepUntilMs)} has passed; wanted a date in the future, such as ${formatShort(Math.ceil((Date.now() + KEEP_MS) / DAY_MS) * DAY_MS)}`,
        });
      }
      return {
        ...readMove(options),
        direction: 'restore' as const,
        symbols: readSymbols(options._, options.market, context),
        intervals: interval && [interval],
        range: { fromMs: from, toMs: to },
        keepUntilMs,
      };
    }),
  writes: ({ dryRun }) => !dryRun,
  async run(options, context) {
    const { sql } = await context.database();
    const plans = await planMove(options, await findInstruments(sql, options.symbols), context);
    const { range, keepUntilMs } = options;
    const span = `from ${formatShort(range.fromMs)} to ${formatShort(range.toMs)}`;
    const json = {
      from: new Date(range.fromMs).toISOString(),
      to: new Date(range.toMs).toISOString(),
      keepUntil: new Date(keepUntilMs).toISOString(),
    };
    if (options.dryRun) {
      return await planOutcome(options, plans, sql, json, {
        heading: `Would move the candles ${span}:`,
        nothing: `No candle ${span} is archived.`,
      });
    }
    const run = await movePlanned(options, plans, context);
    const kept = `archive does not move them before ${formatShort(keepUntilMs)}`;
    return moveOutcome(run, json, (rows) => `${rows} candles ${span} restored; ${kept}`);
  },
};

await main(import.meta, script);
