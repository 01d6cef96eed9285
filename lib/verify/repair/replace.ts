import {
  type BulkDownload,
  downloadOrSkip,
  findDayFiles,
  stageFromRest,
} from '../../download/mod.ts';
import {
  clipRanges,
  seriesValues,
  slotRanges,
  subtractRanges,
  type TimeRange,
} from '../../market/mod.ts';
import { runSql } from '../../postgres/mod.ts';
import { ensureTable, KlineEncoder, runLocked, stage } from '../../store/mod.ts';

/** A row of a candle table that a repair wrote or deleted. */
export interface Change {
  openMs: number;
  isArchived: boolean;
  /** Nothing was stored before. */
  isNew: boolean;
  isRemoved: boolean;
}

/** What requesting stored candles again has led to. Open times, Unix ms. */
export interface Replaced {
  changes: Change[];
  /** Candles that REST sent. */
  sentMs: number[];
  /** Candles that are stored as a bulk file has them. */
  inFilesMs: number[];
}

/**
 * Requests stored candles again: from the bulk files of their days, then over REST.
 * @param ranges oldest first
 * @param trustsFiles whether a candle that is stored as a file has it need not be requested over REST
 */
export async function replaceFromBoth(
  download: BulkDownload,
  ranges: readonly TimeRange[],
  { trustsFiles }: { trustsFiles: boolean },
): Promise<Replaced> {
  const { changes, inFilesMs } = await replaceFromFiles(download, ranges);
  const doneMs = trustsFiles ? inFilesMs : changes.map((change) => change.openMs);
  const left = subtractRanges(ranges, slotRanges(download.series.interval, doneMs));
  const rest = await replaceFromRest(download, left);
  return { changes: [...changes, ...rest.changes], sentMs: rest.sentMs, inFilesMs };
}

/** Replaces stored candles with what REST sends: Binance stands by it, whatever it looks like. */
export async function replaceFromRest(
  download: BulkDownload,
  ranges: readonly TimeRange[],
): Promise<Replaced> {
  if (ranges.length === 0) return { changes: [], sentMs: [], inFilesMs: [] };
  await stageFromRest(download, ranges);
  const sent = await download.session`select open_time from staged_klines`;
  const changes = await replaceStaged(download, 'rest');
  return { changes, sentMs: sent.map((row) => row.open_time.getTime()), inFilesMs: [] };
}

/** Replaces stored candles with other ones from bulk files, if those are sound. */
async function replaceFromFiles(
  download: BulkDownload,
  ranges: readonly TimeRange[],
): Promise<Omit<Replaced, 'sentMs'>> {
  const { session, series } = download;
  const changes: Change[] = [];
  const inFilesMs: number[] = [];
  for (const file of await findDayFiles(download, ranges)) {
    const content = await downloadOrSkip(download, file);
    if (!content) continue;
    await runSql(session, 'store/create_staging.sql');
    for (const wanted of clipRanges(ranges, file.range)) {
      const page = { asked: file.range, wanted, csv: content.csv, source: file.name };
      await stage(
        session,
        new KlineEncoder(series, { ...page, askedAtMs: Number.POSITIVE_INFINITY }),
      );
    }
    const unchanged = await runSql<{ open_time: Date }>(
      session,
      'verify/repair/keep_better.sql',
      seriesValues(series),
    );
    const changed = await replaceStaged(download, file.name);
    for (const row of unchanged) inFilesMs.push(row.open_time.getTime());
    for (const change of changed) {
      changes.push(change);
      inFilesMs.push(change.openMs);
    }
  }
  return { changes, inFilesMs };
}

/**
 * Replaces stored candles with the staged ones.
 * @param from `rest` or the name of a file, for the log of repairs
 */
export async function replaceStaged(
  { session, series }: BulkDownload,
  from: string,
): Promise<Change[]> {
  const [staged] = await session`select exists (select from staged_klines) as any`;
  if (!staged?.any) return [];
  await ensureTable(session, series.instrument);
  const rows = await runLocked<{
    open_time: Date;
    tier: 'hot' | 'archive';
    is_new: boolean;
    is_gone: boolean;
  }>(session, series.instrument.id, ['verify/repair/replace.sql'], {
    ...seriesValues(series),
    source: from,
  });
  return rows.map((row) => ({
    openMs: row.open_time.getTime(),
    isArchived: row.tier === 'archive',
    isNew: row.is_new,
    isRemoved: row.is_gone,
  }));
}
