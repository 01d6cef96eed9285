/** From the exchange into the store: register, sync, fetch, update, adopt. */
export { type AdoptCounts, type AdoptWork, copyCandles } from './adopt.ts';
export { FIELD_NAMES, type Field, type FieldMap, planRows } from './adopt-columns.ts';
export {
  assertNameIsFree,
  type ForeignTable,
  findForeignTable,
  renameTable,
} from './adopt-table.ts';
export { findDayFiles, findEndedFiles, loadBulk } from './bulk.ts';
export { type BulkDownload, downloadOrSkip } from './bulk-loading.ts';
export { downloadTwice, ifServed } from './download.ts';
export {
  type FetchedSeries,
  type FetchOptions,
  fetchSeries,
  SOURCES,
  type Source,
} from './fetch.ts';
export { proveGaps } from './gap-proof.ts';
export { findDownMarkets, refreshMarkets } from './market-status.ts';
export type { OpenGapCounts } from './open-gaps.ts';
export { type Download, stageFromRest } from './pages.ts';
export { type RecheckCounts, recheckGaps } from './recheck-gaps.ts';
export { findOrRegister, findOrRegisterOffline, plannedInstrument } from './register.ts';
export { type SyncChanges, syncMarket } from './sync.ts';
export {
  DEFAULT_LIMIT,
  type UpdatedInstrument,
  type UpdatedSeries,
  updateInstrument,
} from './update.ts';
