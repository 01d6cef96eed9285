/** What the scripts archive and restore share: options, the run, and its output. */
import type { ArgsDef } from 'citty';
import {
  assertTablesFit,
  countBatches,
  type InstrumentPlan,
  type MoveOptions,
  type MoveRequest,
  type MoveResult,
  planInstrument,
  runMove,
  tablesFor,
} from '../lib/archive/mod.ts';
import {
  describeError,
  EXIT,
  type ExitCode,
  formatBytes,
  formatCount,
  formatShort,
  formatTable,
  KlinekeepError,
} from '../lib/base/mod.ts';
import { type Context, flag, type Outcome, spanOption, wholeNumber } from '../lib/cli/mod.ts';
import type { Instrument } from '../lib/market/mod.ts';
import type { Sql } from '../lib/postgres/mod.ts';
import { formatUndone } from './_text.ts';

const BATCH_ROWS = 10_000;

export const MOVE_ARGS = {
  batch: {
    type: 'string',
    description: 'Maximum candles per batch; halved after a batch that takes over 200 ms',
    default: String(BATCH_ROWS),
  },
  gentle: {
    type: 'boolean',
    description: 'One batch at a time, then pause for as long as it took',
  },
  'max-runtime': {
    type: 'string',
    valueHint: 'span',
    description:
      'Stop between two batches after this time, such as 10m; the next run moves the rest',
  },
  'dry-run': { type: 'boolean', description: 'Show what would move, but move nothing' },
} as const satisfies ArgsDef;

export const moveOptions = {
  batch: wholeNumber(1, 1_000_000).default(BATCH_ROWS),
  gentle: flag,
  'max-runtime': spanOption.optional(),
  'dry-run': flag,
};

/** The options of both scripts, parsed. */
export interface Move extends Omit<MoveOptions, 'signal'> {
  dryRun: boolean;
}

/** Gives the options that both scripts have their names in `Move`. */
export function readMove(values: {
  batch: number;
  gentle: boolean;
  'max-runtime'?: number | undefined;
  'dry-run': boolean;
}) {
  return {
    batchRows: values.batch,
    gentle: values.gentle,
    maxRuntimeMs: values['max-runtime'],
    dryRun: values['dry-run'],
  };
}

/** Plans the move. Instruments without candles to move are left out. Changes nothing. */
export async function planMove(
  move: MoveRequest,
  instruments: readonly Instrument[],
  context: Context,
): Promise<InstrumentPlan[]> {
  const { sql } = await context.database();
  const plans: InstrumentPlan[] = [];
  for (const instrument of instruments) {
    context.signal.throwIfAborted();
    const plan = await planInstrument(sql, instrument, move);
    if (plan.rows > 0 || plan.refusal !== undefined) plans.push(plan);
  }
  return plans;
}

/** Moves what is planned, and shows progress and warnings. */
export async function movePlanned(
  move: Move,
  plans: readonly InstrumentPlan[],
  context: Context,
): Promise<MoveResult> {
  const { log, progress, signal } = context;
  const rows = plans.reduce((sum, plan) => sum + plan.rows, 0);
  progress.start(rows, 'candles');
  const options = { ...move, signal };
  const result = await runMove(await context.database(), plans, options, {
    onBatch: ({ instrument, interval }, { rows, untilMs }) =>
      progress.advance(rows, `${instrument.symbol} ${interval} ${formatShort(untilMs)}`),
    onMessage: (level, message) => log[level](message),
  });
  progress.stop();
  if (signal.aborted)
    log.warn(`stopped ${progress.position ? `at ${progress.position}` : 'before it began'}`);
  return result;
}

/**
 * The outcome of `--dry-run`: what would move, and what would be refused.
 * @param texts.heading above the plan
 * @param texts.nothing when there is nothing to move
 */
export async function planOutcome(
  move: Move,
  plans: readonly InstrumentPlan[],
  sql: Sql,
  json: Record<string, unknown>,
  texts: { heading: string; nothing: string },
): Promise<Outcome> {
  const failed: { symbol: string; error: string }[] = [];
  const tables: Record<string, unknown>[] = [];
  const rows: (string | number)[][] = [];
  for (const plan of plans) {
    const { instrument, bytes } = plan;
    try {
      await assertTablesFit(sql, instrument);
    } catch (error) {
      if (!(error instanceof KlinekeepError)) throw error;
      failed.push({ symbol: instrument.symbol, error: describeError(error) });
      continue;
    }
    const batches = countBatches(plan, move.batchRows);
    tables.push({ ...nameTables(instrument), rows: plan.rows, batches, bytes });
    const { source, target } = tablesFor(instrument, move.direction);
    rows.push([source, target, plan.rows, batches, formatBytes(bytes)]);
  }
  const lines: string[] = [];
  if (rows.length > 0) {
    const table = formatTable(['from', 'to', 'candles', 'batches', 'bytes'], rows);
    lines.push(`${texts.heading}\n\n${table}`);
  }
  if (plans.length === 0) lines.push(texts.nothing);
  lines.push(...formatUndone({ busy: [], failed }));
  return {
    exitCode: failed.length > 0 ? EXIT.failed : EXIT.done,
    json: { dryRun: true, ...json, tables, failed },
    text: lines.join('\n'),
  };
}

const EXIT_CODES: Record<MoveResult['outcome'], ExitCode> = {
  done: EXIT.done,
  'work remaining': EXIT.later,
  refused: EXIT.failed,
  failed: EXIT.failed,
};

/** The outcome of a run. @param summary one line on what moved, from the number of rows */
export function moveOutcome(
  run: MoveResult,
  json: Record<string, unknown>,
  summary: (rows: string) => string,
): Outcome {
  const { runId, outcome, rows, rowsLeft, busy, stopped } = run;
  const failed = run.failed.map(({ symbol, error }) => ({ symbol, error: describeError(error) }));
  const equalRows = run.tables.reduce((sum, table) => sum + table.equalRows, 0);
  const conflictRows = run.tables.reduce((sum, table) => sum + table.conflictRows, 0);
  const lines = run.tables.map(
    (table) =>
      `${table.instrument.symbol}: ${formatCount(table.movedRows)} candles moved to ${table.target}`,
  );
  lines.push(summary(formatCount(rows)));
  if (equalRows > 0) lines.push(`${formatCount(equalRows)} identical duplicates removed`);
  if (conflictRows > 0) {
    lines.push(
      `${formatCount(conflictRows)} DIFFERED between the tiers: the newer one stayed, archive_batches.conflicts of run ${runId} has both`,
    );
  }
  if (rowsLeft > 0) lines.push(`${formatCount(rowsLeft)} candles left; run it again to continue`);
  lines.push(...stopped.map(({ symbol, reason }) => `  ${symbol}: ${reason}`));
  lines.push(...formatUndone({ busy, failed }));
  const tables = run.tables.map(({ instrument, movedRows, batches, equalRows, conflictRows }) => ({
    ...nameTables(instrument),
    ...{ rows: movedRows, batches, equalRows, conflictRows },
  }));
  return {
    exitCode: EXIT_CODES[outcome],
    json: {
      ...{ run: runId, outcome, ...json, rows, rowsLeft, equalRows, conflictRows },
      ...{ tables, busy, stopped, failed },
    },
    text: lines.join('\n'),
  };
}

function nameTables(instrument: Instrument) {
  return {
    symbol: instrument.symbol,
    table: instrument.tableName,
    archive: tablesFor(instrument, 'archive').target,
  };
}
