/** Fixes what the checks found. */
export {
  type DifferingFiles,
  type InstrumentRepair,
  type RepairTools,
  repairInstrument,
} from './instrument.ts';
export { isRepairable, type RepairCounts } from './plan.ts';
