import { addMonths, DAY_MS, startOfDay, startOfMonth, toUtc } from '../base/mod.ts';
import { type BulkFile, dayFile, fileNamed, hasDailyFiles, monthFile } from '../binance/mod.ts';
import {
  clipRanges,
  countAllSlots,
  countSlots,
  type Interval,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import { fetchableRanges, loadedFiles, type StoreCounts } from '../store/mod.ts';
import { type BulkDownload, loadFiles } from './bulk-loading.ts';
import { addCounts } from './pages.ts';

/** What bulk files brought, and what they left. */
export interface BulkResult {
  counts: StoreCounts;
  missing: TimeRange[];
}

/**
 * Fills what is missing from bulk files: months first, then the days that are still short. What
 * no file has is left for REST. A file is stored whole, also what of it was not asked for: so one
 * that is written down as loaded has nothing more for anyone.
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
  let result: BulkResult = {
    counts: { inserted: 0, revised: 0, rejected: 0 },
    missing: [...missing],
  };

  for (const rung of [monthsShort, daysShort]) {
    const files = rung(download, result.missing, todayMs).filter(
      // A file that was loaded has no more for us, unless most of it is gone since.
      (file) => !loaded.has(file.name) || isMostlyMissing(interval, result.missing, file.range),
    );
    if (files.length === 0) continue;
    const { counts, complete } = await loadFiles(download, files, loaded, result.missing);
    const left: TimeRange[] = [];
    for (const range of subtractRanges(result.missing, complete)) {
      for (const each of await fetchableRanges(session, series, range)) left.push(each);
    }
    result = { counts: addCounts(result.counts, counts), missing: left };
  }
  return result;
}

/** Loads those files again, whole, whose published checksum is another one by now. */
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

/** Month files: where most of a month is missing and the month is over. */
function monthsShort(
  { series }: BulkDownload,
  missing: readonly TimeRange[],
  todayMs: number,
): BulkFile[] {
  const { instrument, interval } = series;
  const files: BulkFile[] = [];
  for (const monthMs of startsIn(missing, startOfMonthMs, nextMonthMs)) {
    const file = monthFile(instrument, interval, monthMs);
    if (file.range.toMs <= todayMs && isMostlyMissing(interval, missing, file.range))
      files.push(file);
  }
  return files;
}

/** Day files: where anything of a day is missing. Those of today and yesterday may not be out yet. */
function daysShort(
  { series }: BulkDownload,
  missing: readonly TimeRange[],
  todayMs: number,
): BulkFile[] {
  const { instrument, interval } = series;
  if (!hasDailyFiles(interval)) return [];
  return startsIn(missing, startOfDay, (dayMs) => dayMs + DAY_MS)
    .filter((dayMs) => dayMs < todayMs - DAY_MS)
    .map((dayMs) => dayFile(instrument, interval, dayMs));
}

function startsIn(
  ranges: readonly TimeRange[],
  startOf: (timeMs: number) => number,
  next: (startMs: number) => number,
): number[] {
  const starts = new Set<number>();
  for (const range of ranges) {
    for (let startMs = startOf(range.fromMs); startMs < range.toMs; startMs = next(startMs))
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
