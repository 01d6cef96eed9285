/** Reads what is stored: candles, status, metrics, report. */
export { type CandlePlan, type CandleRange, planCandles } from './candle-plan.ts';
export { type Candle, candles, readCandles } from './candles.ts';
export { collectMetrics } from './metrics.ts';
export { collectReport } from './report/data.ts';
export { renderReport } from './report/page.ts';
export {
  type InstrumentStatus,
  instrumentsByTable,
  readAccess,
  type SeriesStatus,
  storeStatus,
} from './status.ts';
