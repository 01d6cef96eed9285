/** The tables, one file each, and the locks on them. The only room that writes candles. */
export { canRecordComparisons, comparedFiles, recordComparedFile } from './compared-files.ts';
export {
  confirmedGaps,
  confirmGap,
  forgetGaps,
  longestUnaskedGaps,
  recordRecheck,
  settledUntilMs,
} from './confirmed-gaps.ts';
export { logDifferences } from './disputes.ts';
export { eachInstrument, type Task } from './each-instrument.ts';
export { createSharedPauses } from './exchange-pauses.ts';
export {
  chooseExitCode,
  type InstrumentResult,
  sortResults,
  throwIfOnlyFailure,
} from './instrument-results.ts';
export {
  chooseInstruments,
  findInstruments,
  type InstrumentFilter,
  isNamed,
  listInstruments,
  markEnded,
  markForCheck,
  registerInstruments,
  showName,
  storeListedAt,
} from './instruments.ts';
export { COPY_COLUMNS, KlineEncoder, type RejectedKline } from './kline-copy.ts';
export { storePage } from './klines.ts';
export { fileThatShows, leftAlone, loadedFiles, recordLoadedFile } from './loaded-files.ts';
export { instrumentHolder, lockedTransaction, runLocked } from './locks.ts';
export { type Klines, openKlines } from './open.ts';
export { type GapState, openGaps, recordOpenGaps, recordShown } from './open-gaps.ts';
export {
  addCounts,
  NOTHING_STORED,
  type Page,
  type PageCounts,
  type RequestAgain,
  type StoreCounts,
} from './page.ts';
export { storeRejected } from './rejected-klines.ts';
export { type LoggedRepair, listRepairs } from './repairs.ts';
export { closeRun, lastRuns, openRun, type Run, type RunResult } from './runs.ts';
export {
  fetchableRanges,
  findNeighbours,
  missingRanges,
  openTimes,
  recordCheck,
  type StoredSeries,
  storedSeries,
} from './series.ts';
export { merge, stage } from './staging.ts';
export { ensureTable, findTable, tableExists, tableIn } from './tables.ts';
