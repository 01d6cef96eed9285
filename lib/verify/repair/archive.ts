import type { BulkDownload } from '../../download/mod.ts';
import { seriesValues, type TimeRange } from '../../market/mod.ts';
import { openTimes, runLocked } from '../../store/mod.ts';
import { findWrongSpans, recordCheckpoint } from '../mod.ts';
import { type Change, replaceFromBoth } from './replace.ts';

/**
 * Compares spans of the archive with the exchange, candle by candle, and records a checkpoint for
 * each span of which it has every candle.
 * @returns what was replaced, and the number of checkpoints
 */
export async function compareSpans(
  download: BulkDownload,
  spans: readonly TimeRange[],
): Promise<{ changes: Change[]; checkpoints: number }> {
  const { session, series } = download;
  const changes: Change[] = [];
  let checkpoints = 0;
  for (const span of spans) {
    const replaced = await replaceFromBoth(download, [span], { trustsFiles: true });
    for (const change of replaced.changes) changes.push(change);
    // An answer that is empty or cut short proves nothing.
    const confirmedMs = new Set([...replaced.sentMs, ...replaced.inFilesMs]);
    const archivedMs = await openTimes(session, series, span, 'klines_archive');
    if (!archivedMs.every((openMs) => confirmedMs.has(openMs))) continue;
    await recordCheckpoint(session, series, span);
    checkpoints += 1;
  }
  return { changes, checkpoints };
}

/**
 * Finishes a repair: moves what it stored in klines to the archive where its neighbours are, and compares the
 * spans of the archive that have changed.
 * @param isStored whether candles were stored in klines
 * @param since when the repair began
 */
export async function followChanges(
  download: BulkDownload,
  changes: readonly Change[],
  isStored: boolean,
  since: Date,
): Promise<{ changes: Change[]; checkpoints: number }> {
  const movedMs = isStored ? await moveToArchive(download, since) : [];
  const archived = changes.filter((change) => change.isArchived);
  const changedMs = [...archived.map((change) => change.openMs), ...movedMs];
  return await compareSpans(download, await findChangedSpans(download, changedMs));
}

/**
 * Moves candles that a repair stored in klines, and that are older than the newest archived one,
 * to klines_archive.
 * @param since when the repair began
 * @returns their open times, Unix ms
 */
async function moveToArchive({ session, series }: BulkDownload, since: Date): Promise<number[]> {
  const moved = await runLocked<{ open_time: Date }>(
    session,
    series.instrument.id,
    ['verify/repair/move_to_archive.sql'],
    { ...seriesValues(series), since },
  );
  return moved.map((row) => row.open_time.getTime());
}

/** The spans of the archive that contain a candle which a repair changed, and whose hash is wrong now. */
async function findChangedSpans(
  { session, series }: BulkDownload,
  changedMs: readonly number[],
): Promise<TimeRange[]> {
  if (changedMs.length === 0) return [];
  const range = {
    fromMs: changedMs.reduce((least, timeMs) => Math.min(least, timeMs)),
    toMs: changedMs.reduce((most, timeMs) => Math.max(most, timeMs)) + 1,
  };
  const wrong = await findWrongSpans(session, series, range);
  return wrong.filter(({ fromMs, toMs }) =>
    changedMs.some((timeMs) => timeMs >= fromMs && timeMs < toMs),
  );
}
