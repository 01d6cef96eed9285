import { addMonths, DAY_MS, startOfDay, startOfMonth, toUtc } from '../base/mod.ts';
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
import { addCounts, loadedFiles, NOTHING_STORED, type StoreCounts } from '../store/mod.ts';
import { type BulkDownload, loadFiles } from './bulk-loading.ts';
import { findFetchable } from './download.ts';

/** The result of loading bulk files. */
export interface BulkResult {
  counts: StoreCounts;
  /** Still missing, oldest first. */
  missing: TimeRange[];
}

/**
 * Loads missing candles from bulk files: months first, then the days that still miss some. A file is
 * always stored in full, even where only a part was requested, so that a file recorded as loaded
 * never needs to be read again.
 * @param missing ranges of the grid, oldest first
 */
export async function loadBulk(
  download: BulkDownload,
  missing: readonly TimeRange[],
): Promise<BulkResult> {
  const { session, series, source } = download;
  const { instrument, interval } = series;
  const todayMs = startOfDay(await source.serverTimeMs(instrument.market));
  const loaded = await loadedFiles(session, series);
  let counts: StoreCounts = NOTHING_STORED;
  let left = [...missing];
  for (const findFiles of [findMonthFiles, findDayFiles]) {
    const files = findFiles(series, left, todayMs).filter(
      // A loaded file has no more candles, unless most of its candles were deleted since.
      (file) => !loaded.has(file.name) || isMostlyMissing(interval, left, file.range),
    );
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

/** The files of past months of which most is missing. */
function findMonthFiles(
  { instrument, interval }: Series,
  missing: readonly TimeRange[],
  todayMs: number,
): BulkFile[] {
  return listStarts(missing, startOfMonthMs, nextMonthMs)
    .map((monthMs) => monthFile(instrument, interval, monthMs))
    .filter((file) => file.range.toMs <= todayMs && isMostlyMissing(interval, missing, file.range));
}

/** The files of days that miss any candle. Those of today and yesterday may not be published yet. */
function findDayFiles(
  { instrument, interval }: Series,
  missing: readonly TimeRange[],
  todayMs: number,
): BulkFile[] {
  if (!hasDailyFiles(interval)) return [];
  return listStarts(missing, startOfDay, (dayMs) => dayMs + DAY_MS)
    .filter((dayMs) => dayMs < todayMs - DAY_MS)
    .map((dayMs) => dayFile(instrument, interval, dayMs));
}

function listStarts(
  ranges: readonly TimeRange[],
  findStart: (timeMs: number) => number,
  next: (startMs: number) => number,
): number[] {
  const starts = new Set<number>();
  for (const range of ranges) {
    for (let startMs = findStart(range.fromMs); startMs < range.toMs; startMs = next(startMs))
      starts.add(startMs);
  }
  return [...starts];
}

const startOfMonthMs = (timeMs: number) => startOfMonth(toUtc(timeMs)).getTime();
const nextMonthMs = (startMs: number) => addMonths(toUtc(startMs), 1).getTime();

function isMostlyMissing(
  interval: Interval,
  missing: readonly TimeRange[],
  period: TimeRange,
): boolean {
  return countAllSlots(interval, clipRanges(missing, period)) * 2 > countSlots(interval, period);
}
