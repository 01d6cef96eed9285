import {
  type BulkDownload,
  downloadTwice,
  ifServed,
  loadBulk,
  proveGaps,
} from '../../download/mod.ts';
import {
  countAllSlots,
  floorToGrid,
  seriesValues,
  slotRanges,
  type TimeRange,
} from '../../market/mod.ts';
import { addCounts, forgetGaps, NOTHING_STORED, runLocked } from '../../store/mod.ts';
import { recordPublished } from '../mod.ts';
import { compareSpans, followChanges } from './archive.ts';
import type { Round, SeriesPlan } from './plan.ts';
import { replaceFromBoth, replaceFromRest } from './replace.ts';

/** Slots that are at most this many slots apart are requested together. */
const APART = 100;

/**
 * Carries out a plan: one round of a repair of one series.
 * @param download its session holds the instrument's lock
 * @param since when the repair began
 */
export async function repairSeries(
  download: BulkDownload,
  plan: SeriesPlan,
  since: Date,
): Promise<Round> {
  const { session, series } = download;
  const copiesDeleted = plan.hasCopies ? await deleteCopies(download) : 0;
  await recordPublished(session, series, plan.published);
  for (const file of plan.files) await forgetGaps(session, series, file);
  const { filled, confirmed, leavesOpenGaps } = await fillMissing(download, plan.missing);

  const questionable = slotRanges(series.interval, [...plan.questionable], APART);
  const stillQuestionable = slotRanges(series.interval, [...plan.stillQuestionable], APART);
  const replaced = [
    // Filling passes over files that are loaded: these gaps need the file itself.
    await replaceFromBoth(download, plan.gaps, { trustsFiles: true }),
    await replaceFromBoth(download, questionable, { trustsFiles: false }),
    await replaceFromRest(download, stillQuestionable),
  ];
  const compared = await compareSpans(download, plan.spans);

  const changes = replaced.flatMap((each) => each.changes);
  const isStored = filled + changes.length + compared.changes.length > 0;
  const changed = await followChanges(download, changes, isStored, since);

  const all = [...changes, ...compared.changes, ...changed.changes];
  const removed = all.filter((change) => change.isRemoved).length;
  const sentMs = replaced.flatMap((each) => each.sentMs);
  return {
    plan,
    counts: {
      filled,
      replaced: all.length - removed,
      removed,
      copiesDeleted,
      confirmed,
      asPublished: plan.published.length,
      checkpoints: compared.checkpoints + changed.checkpoints,
    },
    sent: new Set(sentMs.map((openMs) => floorToGrid(series.interval, openMs))),
    leavesOpenGaps,
  };
}

/** Deletes the copies in klines of archived candles. @returns how many */
async function deleteCopies({ session, series }: BulkDownload): Promise<number> {
  const [row] = await runLocked<{ deleted: number }>(
    session,
    series.instrument.id,
    ['verify/repair/delete_copies.sql'],
    seriesValues(series),
  );
  return row?.deleted ?? 0;
}

/** Fills slots from bulk files and REST. Slots that are proven to be gaps of the exchange are confirmed. */
async function fillMissing(
  download: BulkDownload,
  missing: readonly TimeRange[],
): Promise<{ filled: number; confirmed: number; leavesOpenGaps: boolean }> {
  if (missing.length === 0) return { filled: 0, confirmed: 0, leavesOpenGaps: false };
  const { interval, instrument } = download.series;
  const bulk = await loadBulk(download, missing);
  const rest = await ifServed(instrument, () => downloadTwice(download, bulk.missing));
  const left = rest?.missing ?? bulk.missing;
  const options = { examined: missing, usesRest: rest !== undefined };
  const proved = await proveGaps(download, left, options);
  const counts = [bulk.counts, rest?.counts ?? NOTHING_STORED, proved.counts].reduce(addCounts);
  return {
    filled: counts.inserted,
    confirmed: countAllSlots(interval, proved.confirmed),
    leavesOpenGaps: proved.open.length > 0,
  };
}
