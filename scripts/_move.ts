/** What the scripts archive and restore have in common: options, the run, and its words. */
import type { ArgsDef } from 'citty';
import {
  archiveTableOf,
  assertFit,
  countBatches,
  type Due,
  findDue,
  type MoveRequest,
  type MoveRun,
  type RunOptions,
  runMove,
  tablesOf,
} from '../lib/archive/mod.ts';
import {
  describeError,
  EXIT,
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
    description: 'Candles a batch holds at most; fewer when it takes over 200 ms',
    default: String(BATCH_ROWS),
  },
  gentle: {
    type: 'boolean',
    description: 'One batch at a time, never two, and a pause as long after each',
  },
  'max-runtime': {
    type: 'string',
    valueHint: 'span',
    description:
      'Stop between two batches after this long, such as 10m; what is left is for the next run',
  },
  'dry-run': { type: 'boolean', description: 'Say what would move, move nothing' },
} as const satisfies ArgsDef;

export const moveOptions = {
  batch: wholeNumber(1, 1_000_000).default(BATCH_ROWS),
  gentle: flag,
  'max-runtime': spanOption.optional(),
  'dry-run': flag,
};

/** What a move was asked for, as both scripts read it. */
export interface Move extends MoveRequest {
  batchRows: number;
  gentle: boolean;
  maxRuntimeMs: number | undefined;
  dryRun: boolean;
  keepUntilMs?: number;
}

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

/** What would move, for each instrument that has something due. Changes nothing. */
export async function planMove(
  move: MoveRequest,
  instruments: readonly Instrument[],
  context: Context,
): Promise<Due[]> {
  const { sql } = await context.database();
  const dues: Due[] = [];
  for (const instrument of instruments) {
    context.signal.throwIfAborted();
    const due = await findDue(sql, instrument, move);
    if (due.rows > 0 || due.refused !== undefined) dues.push(due);
  }
  return dues;
}

/** Moves what is planned, with progress and warnings on the context. */
export async function moveDues(
  move: Move,
  dues: readonly Due[],
  context: Context,
): Promise<MoveRun> {
  const { log, progress, signal } = context;
  const options: RunOptions = { ...move, signal };
  progress.start(
    dues.reduce((sum, due) => sum + due.rows, 0),
    'candles',
  );
  const run = await runMove(await context.database(), dues, options, {
    onBatch: ({ symbol }, { interval, rows, untilMs }) =>
      progress.advance(rows, `${symbol} ${interval} ${formatShort(untilMs)}`),
    onHeld: ({ symbol }) => log.warn(`${symbol}: held by another run, skipped`),
    onFailed: ({ symbol }, error) => log.error(`${symbol}: ${describeError(error)}`),
    onStopped: ({ symbol }, reason) => log.warn(`${symbol}: stopped, ${reason}`),
    onWarning: log.warn,
    onNote: log.info,
  });
  progress.stop();
  if (signal.aborted)
    log.warn(`stopped ${progress.position ? `at ${progress.position}` : 'before it began'}`);
  return run;
}

/**
 * The plan, for `--dry-run`: what would move, and what would be refused.
 * @param words for what moves, and for nothing
 */
export async function planOutcome(
  move: Move,
  dues: readonly Due[],
  sql: Sql,
  json: Record<string, unknown>,
  words: { heading: string; nothing: string },
): Promise<Outcome> {
  const failed: { symbol: string; error: string }[] = [];
  const tables: Record<string, unknown>[] = [];
  const rows: (string | number)[][] = [];
  for (const due of dues) {
    try {
      await assertFit(sql, due.instrument);
    } catch (error) {
      if (!(error instanceof KlinekeepError)) throw error;
      failed.push({ symbol: due.instrument.symbol, error: describeError(error) });
      continue;
    }
    const batches = countBatches(due, move.batchRows);
    tables.push({ ...nameTables(due.instrument), rows: due.rows, batches, bytes: due.bytes });
    const { source, target } = tablesOf(due.instrument, move.direction);
    rows.push([source, target, due.rows, batches, formatBytes(due.bytes)]);
  }
  const plan = formatTable(['from', 'to', 'candles', 'batches', 'bytes'], rows);
  const lines = [
    ...(rows.length > 0 ? [`${words.heading}\n\n${plan}`] : []),
    ...(dues.length === 0 ? [words.nothing] : []),
    ...formatUndone({ held: [], failed }),
  ];
  return {
    exitCode: failed.length > 0 ? EXIT.failed : EXIT.done,
    json: { dryRun: true, ...json, tables, failed },
    text: lines.join('\n'),
  };
}

/** What a run did. @param summary says of what the rows that moved are */
export function moveOutcome(
  run: MoveRun,
  json: Record<string, unknown>,
  summary: (rows: string) => string,
): Outcome {
  const { held, failed, stopped, rows, rowsLeft } = run;
  const sumOf = (what: 'equalRows' | 'conflictRows') =>
    run.tables.reduce((sum, table) => sum + table[what], 0);
  const [equalRows, conflictRows] = [sumOf('equalRows'), sumOf('conflictRows')];
  const lines = [
    ...run.tables.map(
      (table) =>
        `${table.instrument.symbol}: ${formatCount(table.movedRows)} candles moved to ${table.target}`,
    ),
    summary(formatCount(rows)),
    ...(equalRows > 0
      ? [`${formatCount(equalRows)} were in both tiers alike; one copy of each went`]
      : []),
    ...(conflictRows > 0
      ? [
          `${formatCount(conflictRows)} DIFFERED between the tiers; the newer one stayed, both are in archive_batches.conflicts of run ${run.runId}`,
        ]
      : []),
    ...(rowsLeft > 0 ? [`${formatCount(rowsLeft)} candles left; run it again to go on`] : []),
    ...stopped.map(({ symbol, reason }) => `  ${symbol}: ${reason}`),
    ...formatUndone({ held, failed }),
  ];
  const tables = run.tables.map(({ instrument, movedRows, batches, equalRows, conflictRows }) => ({
    ...nameTables(instrument),
    rows: movedRows,
    ...{ batches, equalRows, conflictRows },
  }));
  return {
    exitCode: run.exitCode,
    json: {
      run: run.runId,
      outcome: run.outcome,
      ...json,
      ...{ rows, rowsLeft, equalRows, conflictRows, tables, held, stopped, failed },
    },
    text: lines.join('\n'),
  };
}

function nameTables(instrument: Instrument) {
  return {
    symbol: instrument.symbol,
    table: instrument.tableName,
    archive: archiveTableOf(instrument),
  };
}
