/** What a symbol, an interval, a range, a candle and an instrument are. Pure: no input or output. */
export {
  type Instrument,
  rangesToJson,
  rangeValues,
  readRange,
  type Series,
  seriesValues,
} from './instrument.ts';
export {
  addSteps,
  ceilToGrid,
  divides,
  floorToGrid,
  INTERVALS,
  type Interval,
  isInterval,
  maxStepMs,
  stepForSql,
} from './intervals.ts';
export { READER_VERSION, readKlines, whyRejected } from './kline.ts';
export { OUTAGES, type Outage, outageDuring } from './outages.ts';
export {
  clipRanges,
  countAllSlots,
  countSlots,
  missingBetween,
  slotRanges,
  splitIntoWindows,
  subtractRanges,
  type TimeRange,
} from './ranges.ts';
export {
  type Market,
  parseSymbol,
  type SymbolName,
  tableNameFor,
  unifiedSymbol,
} from './symbols.ts';
