/** What the scripts archive and restore share: options and the run. */
import {
  type InstrumentPlan,
  type MoveRequest,
  type MoveResult,
  planInstrument,
  runMove,
} from '../lib/archive/mod.ts';
import { formatShort } from '../lib/base/mod.ts';
import { type Context, type Outcome, option } from '../lib/cli/mod.ts';
import type { Instrument } from '../lib/market/mod.ts';
import { type MoveText, moveOutcome, planOutcome } from './_move-text.ts';

export const MOVE_OPTIONS = {
  batch: option
    .wholeNumber(1, 1_000_000)
    .default(10_000)
    .describe('Maximum candles per batch; halved after a batch that takes over 200 ms'),
  gentle: option.flag.describe('One batch at a time, then pause for as long as it took'),
  maxRuntime: option.span.optional().meta({
    valueHint: 'span',
    description:
      'Stop between two batches after this time, such as 10m; the next run moves the rest',
  }),
  dryRun: option.flag.describe('Show what would move, but move nothing'),
};

/** The options of both scripts, parsed. */
export interface Move extends MoveRequest {
  /** Candles. */
  batch: number;
  gentle: boolean;
  /** Milliseconds. */
  maxRuntime?: number | undefined;
  dryRun: boolean;
  /** For restore: until when archive leaves the range alone, in Unix ms. */
  keepUntilMs?: number;
}

/** Plans the move and carries it out; with `--dry-run` it only shows the plan. */
export async function planAndMove(
  move: Move,
  instruments: readonly Instrument[],
  context: Context,
  text: MoveText,
): Promise<Outcome> {
  const { sql } = await context.database();
  const plans: InstrumentPlan[] = [];
  for (const instrument of instruments) {
    context.signal.throwIfAborted();
    const plan = await planInstrument(sql, instrument, move);
    if (plan.rows > 0 || plan.refusal !== undefined) plans.push(plan);
  }
  if (move.dryRun) return await planOutcome(move, plans, sql, text);
  return moveOutcome(await movePlanned(move, plans, context), text);
}

/** Moves what is planned, and shows progress and warnings. */
async function movePlanned(
  { batch: batchRows, maxRuntime: maxRuntimeMs, ...move }: Move,
  plans: readonly InstrumentPlan[],
  { database, log, progress, signal }: Context,
): Promise<MoveResult> {
  progress.start(
    plans.reduce((sum, plan) => sum + plan.rows, 0),
    'candles',
  );
  const options = { ...move, batchRows, maxRuntimeMs, signal };
  const result = await runMove(await database(), plans, options, {
    onBatch: ({ instrument, interval }, { rows, untilMs }) =>
      progress.advance(rows, `${instrument.symbol} ${interval} ${formatShort(untilMs)}`),
    onMessage: (level, message) => log[level](message),
  });
  if (signal.aborted)
    log.warn(`stopped ${progress.position ? `at ${progress.position}` : 'before it began'}`);
  return result;
}
