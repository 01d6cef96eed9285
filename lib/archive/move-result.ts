import { describeError, EXIT, KlinekeepError } from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';
import type { BatchSums, RunOutcome } from './log.ts';
import type { MoveRun } from './move-run.ts';
import type { InstrumentPlan } from './plan.ts';
import { tablesFor } from './tables.ts';

/** The symbols of which not all was moved, and why. */
export interface Unfinished {
  /** Another run works on them. */
  busy: string[];
  failed: { symbol: string; error: unknown }[];
  stopped: { symbol: string; reason: string }[];
}

/** What one run did. */
export interface MoveResult extends Unfinished {
  runId: string;
  tables: ({ instrument: Instrument; source: string; target: string } & BatchSums)[];
  rows: number;
  rowsLeft: number;
  outcome: RunOutcome;
}

/** How a run ended. `refused`: nothing failed except tables that do not fit. */
export function judge({ busy, failed, stopped }: Unfinished, isAborted: boolean): RunOutcome {
  const isRefusal = (error: unknown) =>
    error instanceof KlinekeepError && error.exitCode === EXIT.config;
  if (failed.length > 0)
    return failed.every(({ error }) => isRefusal(error)) ? 'refused' : 'failed';
  return isAborted || busy.length > 0 || stopped.length > 0 ? 'work remaining' : 'done';
}

/** A line for each instrument that is not finished, and one for the signal. */
export function explain({ busy, failed, stopped }: Unfinished, signal: AbortSignal): string {
  return [
    ...failed.map(({ symbol, error }) => `${symbol}: ${describeError(error)}`),
    ...stopped.map(({ symbol, reason }) => `${symbol}: ${reason}`),
    ...busy.map((symbol) => `${symbol}: another run has locked it`),
    ...(signal.aborted ? [describeError(signal.reason)] : []),
  ].join('\n');
}

/** What the batches of a run moved according to the log, and what is left of the plans. */
export function summarize(
  run: MoveRun,
  plans: readonly InstrumentPlan[],
  outcome: RunOutcome,
  sums: ReadonlyMap<number, BatchSums>,
): Omit<MoveResult, keyof Unfinished> {
  const tables = plans.flatMap(({ instrument }) => {
    const sum = sums.get(instrument.id);
    return sum ? [{ instrument, ...tablesFor(instrument, run.options.direction), ...sum }] : [];
  });
  const planned = plans.reduce((sum, plan) => sum + plan.rows, 0);
  const finished = tables.reduce((sum, each) => sum + each.movedRows + each.droppedRows, 0);
  return {
    runId: run.id,
    tables,
    rows: tables.reduce((sum, { movedRows }) => sum + movedRows, 0),
    rowsLeft: outcome === 'done' ? 0 : Math.max(0, planned - finished),
    outcome,
  };
}
