import { TransientError } from './binance/answer.ts';
import { BadFileError, type BulkContent, type BulkSource } from './binance/bulk.ts';
import {
  type BulkFile,
  dayFile,
  fileNamed,
  hasDailyFiles,
  monthFile,
} from './binance/bulk-files.ts';
import type { Session } from './db.ts';
import { KlinekeepError } from './errors.ts';
import { subtractRanges } from './gaps.ts';
import { addCounts, type Download } from './history.ts';
import {
  clipRanges,
  countAllSlots,
  countSlots,
  floorToGrid,
  type Interval,
  type TimeRange,
} from './intervals.ts';
import { type PageCounts, type Series, type StoreCounts, storePage } from './klines.ts';
import { leftAlone, loadedFiles, recordLoadedFile } from './loaded-files.ts';
import { inParallel } from './parallel.ts';
import { fetchableRanges } from './series.ts';
import { formatCount } from './table.ts';
import { addMonths, DAY_MS, startOfDay, startOfMonth, toUtc } from './time.ts';

export interface BulkDownload extends Download {
  bulk: BulkSource;
  /** Opens a second session that writes under the same lock. */
  openHelper: () => Promise<Session>;
  /** Told of each file that is there and was not loaded, or not all of it, and why. */
  onBadFile: (error: Error) => void;
}

/** Files of a series that are downloaded while one is being stored. */
const AHEAD = 3;

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
      left.push(...(await fetchableRanges(session, series, range)));
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
  for (const [name, sha256] of loaded) {
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

/**
 * Stores files, each in one transaction, while the next ones are downloaded. Two at a time: one
 * server process takes a file about as fast as this one reads it.
 * @param loaded SHA-256 of those that were loaded before, by name
 * @param missing what is to be settled by them
 * @returns `complete`: the ranges of which every candle is stored now
 */
async function loadFiles(
  download: BulkDownload,
  files: readonly BulkFile[],
  loaded: ReadonlyMap<string, string>,
  missing: readonly TimeRange[],
): Promise<{ counts: StoreCounts; complete: TimeRange[] }> {
  // Whatever ends this, a failure too, gives back the places that its files hold in the gate.
  const end = new AbortController();
  try {
    const signal = AbortSignal.any([download.signal, end.signal]);
    return await storeFiles({ ...download, signal }, files, loaded, missing);
  } finally {
    end.abort();
  }
}

async function storeFiles(
  download: BulkDownload,
  files: readonly BulkFile[],
  loaded: ReadonlyMap<string, string>,
  missing: readonly TimeRange[],
): Promise<{ counts: StoreCounts; complete: TimeRange[] }> {
  const { session, series, signal } = download;
  const complete: TimeRange[] = [];
  let counts: StoreCounts = { inserted: 0, revised: 0, rejected: 0 };
  let done = 0;
  const lanes = files.length > 1 ? [session, await download.openHelper()] : [session];
  await inParallel(downloadAhead(download, files), lanes.length, async (arrival) => {
    const { file, content, leave } = await arrival;
    signal.throwIfAborted();
    done += 1;
    if (!content) return leave();
    const lane = lanes.pop() as Session;
    const wanted = sinceListing(series, file.range);
    const stored = await storeFile(
      { ...download, session: lane },
      { file, wanted, content, before: loaded.get(file.name) },
    );
    lanes.push(lane);
    leave();
    counts = addCounts(counts, stored);
    if (stored.isComplete) complete.push(wanted);
    download.onPage?.({
      slots: countAllSlots(series.interval, clipRanges(missing, wanted)),
      untilMs: wanted.toMs,
      counts: stored,
      files: { done, total: files.length },
    });
  });
  return { counts, complete: complete.sort((a, b) => a.fromMs - b.fromMs) };
}

/** Without what opens before the listing: there is none, whatever a file says. */
function sinceListing({ instrument, interval }: Series, range: TimeRange): TimeRange {
  const listedMs = floorToGrid(interval, instrument.listedAtMs ?? 0);
  return { fromMs: Math.min(Math.max(range.fromMs, listedMs), range.toMs), toMs: range.toMs };
}

/**
 * Stores a file and writes down that it is loaded. One that was published anew is not written
 * down as long as some of its candles are archived: those stay as they are, and it is to be asked
 * for again when they are restored.
 * @param before SHA-256 of what was loaded of it before
 */
async function storeFile(
  { session, series, source, onBadFile }: BulkDownload,
  {
    file,
    wanted,
    content,
    before,
  }: { file: BulkFile; wanted: TimeRange; content: BulkContent; before: string | undefined },
): Promise<PageCounts> {
  const notes: string[] = [];
  const counts = await storePage(session, series, {
    asked: file.range,
    wanted,
    csv: content.csv,
    askedAtMs: await source.serverTimeMs(series.instrument.market),
    source: file.name,
    alongside: async (tx, rows, isStaged) => {
      const isNew = before !== undefined && before !== content.sha256;
      const left =
        isNew && isStaged ? await leftAlone(tx, series, file) : { archived: 0, lacking: 0 };
      if (left.lacking > 0)
        notes.push(`lacks ${formatCount(left.lacking)} candles that are stored; they stay`);
      if (left.archived > 0)
        notes.push(
          `${formatCount(left.archived)} candles of its range are archived and stay as they were; ` +
            'restore them and --refresh again',
        );
      else await recordLoadedFile(tx, series, file, content.sha256, rows);
    },
  });
  for (const note of notes)
    onBadFile(new KlinekeepError('data', `${file.name}, published anew: ${note}.`));
  return counts;
}

interface Arrival {
  file: BulkFile;
  content: BulkContent | undefined;
  /** To be called when the file is stored. */
  leave: () => void;
}

/** Downloads files in their order, some of them ahead of who takes them. */
function* downloadAhead(
  download: BulkDownload,
  files: readonly BulkFile[],
): Generator<Promise<Arrival>> {
  const ahead: Promise<Arrival>[] = [];
  for (const file of files) {
    const arrival = arriveOf(download, file);
    arrival.catch(() => {});
    ahead.push(arrival);
    if (ahead.length > AHEAD) yield ahead.shift() as Promise<Arrival>;
  }
  yield* ahead;
}

/**
 * Files enter the gate in their order, so the one that is stored next is never behind another of
 * its own series: no series waits for what only another one can give.
 */
async function arriveOf(download: BulkDownload, file: BulkFile): Promise<Arrival> {
  const leave = await download.bulk.gate.enter(download.signal);
  return { file, content: await downloadOrSkip(download, file), leave };
}

/** A file that is not there, or not as it should be, leaves its candles to the next rung. */
async function downloadOrSkip(
  { bulk, signal, onBadFile }: BulkDownload,
  file: BulkFile,
): Promise<BulkContent | undefined> {
  try {
    return await bulk.download(file, signal);
  } catch (error) {
    if (!(error instanceof BadFileError || error instanceof TransientError)) throw error;
    onBadFile(error);
    return undefined;
  }
}
