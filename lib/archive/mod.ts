/** Moves candles between the tiers, with proofs: plan, batch, run, log. */
export { batchesOf, type LoggedBatch, type LoggedRun, latestRuns } from './log.ts';
export type { RunOptions } from './options.ts';
export { countBatches, cutoffMs, type Due, findDue, type MoveRequest } from './plan.ts';
export { type MoveRun, runMove } from './run.ts';
export { archiveTableOf, assertFit, compareShapes, readColumns, tablesOf } from './tables.ts';
