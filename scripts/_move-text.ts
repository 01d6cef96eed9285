import {
  assertTablesFit,
  countBatches,
  type InstrumentPlan,
  type MoveRequest,
  type MoveResult,
  tablesFor,
} from '../lib/archive/mod.ts';
import {
  describeError,
  EXIT,
  type ExitCode,
  formatBytes,
  formatCount,
  formatTable,
  KlinekeepError,
} from '../lib/base/mod.ts';
import type { Outcome } from '../lib/cli/mod.ts';
import type { Instrument } from '../lib/market/mod.ts';
import type { Sql } from '../lib/postgres/mod.ts';
import { formatCounts, formatUndone } from './_text.ts';

/** How archive and restore differ in what they print. */
export interface MoveText {
  /** The times that limit the run, for `--json`. */
  json: Record<string, string>;
  /** Which candles: `older than 2024-01-01`. */
  range: string;
  /** Printed when there is nothing to move. */
  nothing: string;
  /** What was done with the candles of the range. */
  moved: string;
}

/** What would move, and what would be refused. */
export async function planOutcome(
  { batch, direction }: MoveRequest & { batch: number },
  plans: readonly InstrumentPlan[],
  sql: Sql,
  text: MoveText,
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
    const batches = countBatches(plan, batch);
    tables.push({ ...nameTables(instrument), rows: plan.rows, batches, bytes });
    const { source, target } = tablesFor(instrument, direction);
    rows.push([source, target, plan.rows, batches, formatBytes(bytes)]);
  }
  const lines: string[] = [];
  if (rows.length > 0) {
    const table = formatTable(['from', 'to', 'candles', 'batches', 'bytes'], rows);
    lines.push(`Would move the candles ${text.range}:\n\n${table}`);
  }
  if (plans.length === 0) lines.push(text.nothing);
  lines.push(...formatUndone({ busy: [], failed }));
  return {
    exitCode: failed.length > 0 ? EXIT.failed : EXIT.done,
    json: { dryRun: true, ...text.json, tables, failed },
    text: lines.join('\n'),
  };
}

const EXIT_CODES: Record<MoveResult['outcome'], ExitCode> = {
  done: EXIT.done,
  'work remaining': EXIT.later,
  refused: EXIT.failed,
  failed: EXIT.failed,
};

/** What a run moved, and what is left. */
export function moveOutcome(run: MoveResult, text: MoveText): Outcome {
  const { runId, outcome, rows, rowsLeft, busy, stopped } = run;
  const failed = run.failed.map(({ symbol, error }) => ({ symbol, error: describeError(error) }));
  const equalRows = run.tables.reduce((sum, table) => sum + table.equalRows, 0);
  const conflictRows = run.tables.reduce((sum, table) => sum + table.conflictRows, 0);
  const lines = run.tables.map(
    (table) =>
      `${table.instrument.symbol}: ${formatCount(table.movedRows)} candles moved to ${table.target}`,
  );
  lines.push(`${formatCount(rows)} candles ${text.range} ${text.moved}`);
  const conflicts =
    'candles DIFFERED between the tiers: the newer ones were kept; ' +
    `archive_batches.conflicts of run ${runId} has both`;
  const counts = formatCounts([
    [equalRows, 'identical duplicates removed'],
    [conflictRows, conflicts],
    [rowsLeft, 'candles left; run it again to continue'],
  ]);
  lines.push(...counts);
  lines.push(...stopped.map(({ symbol, reason }) => `  ${symbol}: ${reason}`));
  lines.push(...formatUndone({ busy, failed }));
  const tables = run.tables.map(({ instrument, movedRows, batches, equalRows, conflictRows }) => ({
    ...nameTables(instrument),
    ...{ rows: movedRows, batches, equalRows, conflictRows },
  }));
  return {
    exitCode: EXIT_CODES[outcome],
    json: {
      ...{ run: runId, outcome, ...text.json, rows, rowsLeft, equalRows, conflictRows },
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
