/** Reads what is stored: candles, status, metrics, report. */
export { instrumentsByTable, readAccess } from './access.ts';
export { type CandleRange, planCandles } from './candle-plan.ts';
export { type Candle, candles, readCandles } from './candles.ts';
export { type GapFilter, listGaps } from './gaps.ts';
export type { CandlePlan } from './latest-candles.ts';
export { collectMetrics } from './metrics.ts';
export type { Gap } from './recorded-gaps.ts';
export { collectReport } from './report/data.ts';
export { formatReport } from './report/page.ts';
export { type InstrumentStatus, type SeriesStatus, storeStatus } from './status.ts';
