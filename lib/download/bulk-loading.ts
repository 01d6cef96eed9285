import { formatCount, inParallel, KlinekeepError } from '../base/mod.ts';
import {
  BadFileError,
  type BulkContent,
  type BulkFile,
  type BulkSource,
  TransientError,
} from '../binance/mod.ts';
import {
  clipRanges,
  countAllSlots,
  floorToGrid,
  type Series,
  type TimeRange,
} from '../market/mod.ts';
import type { Session } from '../postgres/mod.ts';
import {
  addCounts,
  leftAlone,
  NOTHING_STORED,
  type Page,
  type PageCounts,
  recordLoadedFile,
  type StoreCounts,
  storePage,
} from '../store/mod.ts';
import { type Download, requestAgain } from './pages.ts';

export interface BulkDownload extends Download {
  bulk: BulkSource;
  /** Opens a second session that writes under the same lock; none if no connection is free. */
  openHelper: () => Promise<Session[]>;
  /** Called for each published file that was not loaded, or not in full, with the reason. */
  onBadFile: (error: Error) => void;
}

/** Files of a series that are downloaded while one is stored. */
const AHEAD = 3;

/**
 * Stores files, each in one transaction, while the next ones are downloaded. Two at a time, because
 * a server process stores a file about as fast as this one reads it.
 * @param loaded SHA-256 of files that were loaded before, by name
 * @param missing the ranges for which the files are loaded
 * @returns `complete`: ranges in which every candle is stored now
 */
export async function loadFiles(
  download: BulkDownload,
  files: readonly BulkFile[],
  loaded: ReadonlyMap<string, { sha256: string }>,
  missing: readonly TimeRange[],
): Promise<{ counts: StoreCounts; complete: TimeRange[] }> {
  const { session, series } = download;
  // However this ends, its files must release their slots of the semaphore.
  const end = new AbortController();
  const signal = AbortSignal.any([download.signal, end.signal]);
  const sessions = files.length > 1 ? [session, ...(await download.openHelper())] : [session];
  const complete: TimeRange[] = [];
  let counts: StoreCounts = NOTHING_STORED;
  let done = 0;
  const pending = downloadAhead({ ...download, signal }, files);
  await inParallel(pending, sessions.length, async (next) => {
    const { file, content, release } = await next;
    signal.throwIfAborted();
    done += 1;
    if (!content) return release();
    const free = sessions.pop() as Session;
    const wanted = sinceListing(series, file.range);
    const work = { file, wanted, content, before: loaded.get(file.name)?.sha256 };
    const stored = await storeOrSkip({ ...download, session: free }, work);
    content.dispose();
    sessions.push(free);
    release();
    if (!stored) return;
    counts = addCounts(counts, stored);
    if (stored.isComplete) complete.push(wanted);
    download.onPage?.({
      slots: countAllSlots(series.interval, clipRanges(missing, wanted)),
      untilMs: wanted.toMs,
      counts: stored,
      files: { done, total: files.length },
    });
  }).finally(() => end.abort());
  return { counts, complete: complete.sort((a, b) => a.fromMs - b.fromMs) };
}

/** The range from the listing on: no candle opened before it, even if a file has some. */
function sinceListing({ instrument, interval }: Series, range: TimeRange): TimeRange {
  const listedMs = floorToGrid(interval, instrument.listedAtMs ?? 0);
  return { fromMs: Math.min(Math.max(range.fromMs, listedMs), range.toMs), toMs: range.toMs };
}

interface FileWork {
  file: BulkFile;
  wanted: TimeRange;
  content: BulkContent;
  /** SHA-256 of the version that was loaded before. */
  before: string | undefined;
}

/** @returns undefined when the file was reported as bad: a large one is unzipped while it is stored */
async function storeOrSkip(
  download: BulkDownload,
  work: FileWork,
): Promise<PageCounts | undefined> {
  try {
    return await storeFile(download, work);
  } catch (error) {
    if (!(error instanceof BadFileError)) throw error;
    download.onBadFile(error);
    return undefined;
  }
}

/**
 * Stores a file and records it as loaded. A republished file is not recorded while some of its
 * candles are archived: these stay unchanged, and the file must be loaded again once they are restored.
 */
async function storeFile(
  download: BulkDownload,
  { file, wanted, content, before }: FileWork,
): Promise<PageCounts> {
  const { session, series, source, onBadFile } = download;
  const notes: string[] = [];
  const page: Page = {
    asked: file.range,
    wanted,
    csv: content.pieces ? Buffer.alloc(0) : content.csv,
    pieces: content.pieces,
    askedAtMs: await source.serverTimeMs(series.instrument.market),
    source: file.name,
    alongside: async (tx, rows, isStaged) => {
      const isRepublished = before !== undefined && before !== content.sha256;
      const left =
        isRepublished && isStaged ? await leftAlone(tx, series, file) : { archived: 0, lacking: 0 };
      if (left.lacking > 0)
        notes.push(`${formatCount(left.lacking)} stored candles are missing in it; they stay`);
      if (left.archived > 0)
        notes.push(
          `${formatCount(left.archived)} candles of its range are archived and stay unchanged; ` +
            'restore them and run --refresh again',
        );
      else await recordLoadedFile(tx, series, file, content.sha256, rows);
    },
  };
  const counts = await storePage(session, series, page, (openTimesMs) =>
    requestAgain(download, openTimesMs),
  );
  for (const note of notes)
    onBadFile(new KlinekeepError('data', `${file.name} was republished: ${note}.`));
  return counts;
}

interface DownloadedFile {
  file: BulkFile;
  content: BulkContent | undefined;
  /** Must be called when the file is stored. */
  release: () => void;
}

/** Downloads files in their order, some of them ahead. */
function* downloadAhead(
  download: BulkDownload,
  files: readonly BulkFile[],
): Generator<Promise<DownloadedFile>> {
  const ahead: Promise<DownloadedFile>[] = [];
  for (const file of files) {
    const pending = acquireAndDownload(download, file);
    pending.catch(() => {});
    ahead.push(pending);
    if (ahead.length > AHEAD) yield ahead.shift() as Promise<DownloadedFile>;
  }
  yield* ahead;
}

/**
 * Files acquire the semaphore in their order, so the file that is stored next never waits behind another
 * one of its series, and no two series wait for each other.
 */
async function acquireAndDownload(download: BulkDownload, file: BulkFile): Promise<DownloadedFile> {
  const release = await download.bulk.semaphore.acquire(download.signal);
  return { file, content: await downloadOrSkip(download, file), release };
}

/** @returns undefined when the file is missing, or was reported as bad: other sources may have its candles */
export async function downloadOrSkip(
  { bulk, signal, onBadFile }: Pick<BulkDownload, 'bulk' | 'signal' | 'onBadFile'>,
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
