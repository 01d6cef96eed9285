/** Moves candles between the tiers, with proofs: plan, batch, run, log. */
export { type LoggedBatch, type LoggedRun, latestRuns, listBatches } from './logged-runs.ts';
export type { MoveResult } from './move-result.ts';
export type { MoveOptions } from './move-run.ts';
export {
  countBatches,
  cutoffMs,
  type InstrumentPlan,
  type MoveRequest,
  planInstrument,
} from './plan.ts';
export { runMove } from './run.ts';
export {
  assertTablesFit,
  compareShapes,
  readColumns,
  tablesFor,
} from './tables.ts';
