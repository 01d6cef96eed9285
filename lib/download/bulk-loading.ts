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
  leftAlone,
  type PageCounts,
  recordLoadedFile,
  type StoreCounts,
  storePage,
} from '../store/mod.ts';
import { addCounts, type Download } from './pages.ts';

export interface BulkDownload extends Download {
  bulk: BulkSource;
  /** Opens a second session that writes under the same lock, if there is room for one. */
  openHelper: () => Promise<Session[]>;
  /** Told of each file that is there and was not loaded, or not all of it, and why. */
  onBadFile: (error: Error) => void;
}

/** Files of a series that are downloaded while one is being stored. */
const AHEAD = 3;

/**
 * Stores files, each in one transaction, while the next ones are downloaded. Two at a time: one
 * server process takes a file about as fast as this one reads it.
 * @param loaded those that were loaded before, by name
 * @param missing what is to be settled by them
 * @returns `complete`: the ranges of which every candle is stored now
 */
export async function loadFiles(
  download: BulkDownload,
  files: readonly BulkFile[],
  loaded: ReadonlyMap<string, { sha256: string }>,
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
  loaded: ReadonlyMap<string, { sha256: string }>,
  missing: readonly TimeRange[],
): Promise<{ counts: StoreCounts; complete: TimeRange[] }> {
  const { session, series, signal } = download;
  const complete: TimeRange[] = [];
  let counts: StoreCounts = { inserted: 0, revised: 0, rejected: 0 };
  let done = 0;
  const lanes = files.length > 1 ? [session, ...(await download.openHelper())] : [session];
  await inParallel(downloadAhead(download, files), lanes.length, async (arrival) => {
    const { file, content, leave } = await arrival;
    signal.throwIfAborted();
    done += 1;
    if (!content) return leave();
    const lane = lanes.pop() as Session;
    const wanted = sinceListing(series, file.range);
    const stored = await storeFile(
      { ...download, session: lane },
      { file, wanted, content, before: loaded.get(file.name)?.sha256 },
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
  const leave = await download.bulk.semaphore.acquire(download.signal);
  return { file, content: await downloadOrSkip(download, file), leave };
}

/** A file that is not there, or not as it should be, leaves its candles to others. */
export async function downloadOrSkip(
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
