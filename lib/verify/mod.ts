/** Checks the stored candles and says what is wrong. */
export { sealStretch, wrongStretches } from './batches.ts';
export { compareSeries, slotRanges, stageAnswer } from './compare.ts';
export {
  byWorst,
  type Check,
  describeRow,
  type Finding,
  type FindingRow,
  type InstrumentReport,
  isAtLeast,
  SEVERITIES,
  type SeriesReport,
} from './findings.ts';
export { type CheckOptions, checkInstrument } from './instrument.ts';
export { rememberPublished } from './published-oddities.ts';
