/** Checks the stored candles and reports what is wrong. */
export { findWrongSpans, recordCheckpoint } from './batches.ts';
export { compareSeries } from './compare.ts';
export { ExchangeClock } from './exchange-clock.ts';
export {
  compareFile,
  compareFiles,
  filesToCompare,
  joinFileFindings,
  unsettledTimes,
} from './files.ts';
export {
  byWorst,
  CANDLE_DEFECTS,
  type Check,
  type Finding,
  type FindingRow,
  type InstrumentReport,
  isAtLeast,
  type SeriesReport,
} from './findings.ts';
export { type CheckOptions, checkInstrument } from './instrument.ts';
export { recordPublished } from './published-oddities.ts';
