/** Fixes what the checks found. */
export { type InstrumentRepair, repairInstrument } from './instrument.ts';
export { isRepairable, type RepairCounts, type RepairTools } from './series.ts';
