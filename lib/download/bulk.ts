import { DAY_MS, startOfDay } from '../base/mod.ts';
import { type BulkFile, dayFile, fileNamed, hasDailyFiles, monthFile } from '../binance/mod.ts';
import {
  clipRanges,
  countAllSlots,
  countSlots,
  type Interval,
  type Series,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import {
  addCounts,
  loadedFiles,
  missingRanges,
  NOTHING_STORED,
  type StoreCounts,
} from '../store/mod.ts';
import { type BulkDownload, loadFiles } from './bulk-loading.ts';
import { findFetchable } from './download.ts';

/** The result of loading bulk files. */
export interface BulkResult {
  counts: StoreCounts;
  /** Still missing, oldest first. */
  missing: TimeRange[];
}

/**
 * Loads missing candles from bulk files: from those that were loaded before and have them, then months, then
 * the days that still miss some. A file is always stored in full, even where only a part was requested, so
 * that a file recorded as loaded is read again only when some of its candles were deleted.
 * @param missing ranges of the grid, oldest first
 */
export async function loadBulk(
  download: BulkDownload,
  missing: readonly TimeRange[],
): Promise<BulkResult> {
  const { session, series } = download;
  const loaded = await loadedFiles(session, series);
  let counts: StoreCounts = NOTHING_STORED;
  let left = [...missing];
  const findLoaded = () => findShortFiles(download, loaded, left);
  const findNew = (findFiles: typeof findDayFiles) => async () =>
    (await findFiles(download, left)).filter((file) => !loaded.has(file.name));
  for (const findFiles of [findLoaded, findNew(findMonthFiles), findNew(findDayFiles)]) {
    const files = await findFiles();
    if (files.length === 0) continue;
    const result = await loadFiles(download, files, loaded, left);
    counts = addCounts(counts, result.counts);
    left = await findFetchable(download, subtractRanges(left, result.complete));
  }
  return { counts, missing: left };
}

/** Loads files again, in full, whose published checksum has changed. */
export async function refreshBulk(download: BulkDownload, range: TimeRange): Promise<StoreCounts> {
  const { session, series, bulk, signal } = download;
  const changed: BulkFile[] = [];
  const loaded = await loadedFiles(session, series);
  for (const [name, { sha256 }] of loaded) {
    const file = fileNamed(series.instrument, series.interval, name);
    if (!file || clipRanges([file.range], range).length === 0) continue;
    const published = await bulk.checksum(file, signal);
    if (published !== undefined && published !== sha256) changed.push(file);
  }
  return (await loadFiles(download, changed, loaded, [])).counts;
}

/** Loaded files of which fewer candles are stored than they had. */
async function findShortFiles(
  { session, series }: BulkDownload,
  loaded: Awaited<ReturnType<typeof loadedFiles>>,
  missing: readonly TimeRange[],
): Promise<BulkFile[]> {
  const { instrument, interval } = series;
  const files: BulkFile[] = [];
  for (const { name, range, rows } of loaded.values()) {
    const file = fileNamed(instrument, interval, name);
    if (!file || clipRanges(missing, range).length === 0) continue;
    const empty = countAllSlots(interval, await missingRanges(session, series, range));
    if (countSlots(interval, range) - empty < rows) files.push(file);
  }
  return files;
}

/** The files of past months of which most is missing, or any candle of an interval without daily files. */
async function findMonthFiles(
  { source, series }: BulkDownload,
  missing: readonly TimeRange[],
): Promise<BulkFile[]> {
  const { instrument, interval } = series;
  const todayMs = startOfDay(await source.serverTimeMs(instrument.market));
  return listFiles(series, missing, monthFile).filter(
    ({ range }) =>
      range.toMs <= todayMs &&
      (!hasDailyFiles(interval) || isMostlyMissing(interval, missing, range)),
  );
}

/** The files of the days in the ranges. Those of today and yesterday may not be published yet. */
export async function findDayFiles(
  { source, series }: BulkDownload,
  ranges: readonly TimeRange[],
): Promise<BulkFile[]> {
  if (ranges.length === 0 || !hasDailyFiles(series.interval)) return [];
  const todayMs = startOfDay(await source.serverTimeMs(series.instrument.market));
  return listFiles(series, ranges, dayFile).filter(({ range }) => range.toMs <= todayMs - DAY_MS);
}

/**
 * The files with the shortest period, days or months, that cover the ranges and whose period has ended by
 * the exchange's clock. The latest ones may not be published yet.
 */
export async function findEndedFiles(
  { source, series }: Pick<BulkDownload, 'source' | 'series'>,
  ranges: readonly TimeRange[],
): Promise<BulkFile[]> {
  const nowMs = await source.serverTimeMs(series.instrument.market);
  const fileAt = hasDailyFiles(series.interval) ? dayFile : monthFile;
  return listFiles(series, ranges, fileAt).filter(({ range }) => range.toMs <= nowMs);
}

/** The files that cover the ranges, each once. */
function listFiles(
  { instrument, interval }: Series,
  ranges: readonly TimeRange[],
  fileAt: typeof dayFile,
): BulkFile[] {
  const files = new Map<string, BulkFile>();
  for (const { fromMs, toMs } of ranges) {
    for (let timeMs = fromMs; timeMs < toMs; ) {
      const file = fileAt(instrument, interval, timeMs);
      files.set(file.name, file);
      timeMs = file.range.toMs;
    }
  }
  return [...files.values()];
}

function isMostlyMissing(
  interval: Interval,
  missing: readonly TimeRange[],
  period: TimeRange,
): boolean {
  return countAllSlots(interval, clipRanges(missing, period)) * 2 > countSlots(interval, period);
}
