import { DAY_MS, startOfDay } from '../../base/mod.ts';
import { type BulkContent, type BulkFile, dayFile, hasDailyFiles } from '../../binance/mod.ts';
import { type BulkDownload, downloadOrSkip } from '../../download/mod.ts';
import { clipRanges, subtractRanges, type TimeRange } from '../../market/mod.ts';
import { runSql } from '../../postgres/mod.ts';
import { encoderFor, ensureTable, lockedTransaction, stage } from '../../store/mod.ts';
import { slotRanges, stageAnswer } from '../mod.ts';

/** What asking the exchange again for stored candles led to. */
export interface Answer {
  /** Candles that were put in place of others, or added where one off the grid was. */
  replaced: number;
  /** Candles taken away: another one of their slot is the true one. */
  removed: number;
  /** Open times of the archived ones among them. */
  archivedMs: number[];
  /** Open times that REST sent. */
  sentMs: number[];
  /** Open times that are stored as a file has them. */
  inFilesMs: number[];
}

interface ChangedRow {
  open_time: Date;
  tier: 'hot' | 'archive';
  is_new: boolean;
  is_gone: boolean;
}

/**
 * Asks for candles that are stored: the day's bulk file first, then REST for what the file does
 * not settle. A stored candle gives way to another answer only: from a file it must be sound,
 * from REST it is what the exchange stands by, whatever it looks like.
 * @param isSettledByEqual a candle that a file has just so needs no second opinion
 * @param withFiles false: REST alone
 */
export async function askAgain(
  download: BulkDownload,
  ranges: readonly TimeRange[],
  { isSettledByEqual, withFiles }: { isSettledByEqual: boolean; withFiles: boolean },
): Promise<Answer> {
  const { session, series } = download;
  const answer: Answer = { replaced: 0, removed: 0, archivedMs: [], sentMs: [], inFilesMs: [] };
  const take = (rows: readonly ChangedRow[]) => {
    for (const row of rows) {
      if (row.is_gone) answer.removed += 1;
      else answer.replaced += 1;
      if (row.tier === 'archive') answer.archivedMs.push(row.open_time.getTime());
    }
  };

  let left: TimeRange[] = [...ranges];
  for (const file of withFiles ? await dayFiles(download, ranges) : []) {
    const content = await downloadOrSkip(download, file);
    if (!content) continue;
    const settled = await stageFile(download, file, content, clipRanges(left, file.range));
    const changed = await replaceStaged(download, file.name);
    take(changed);
    const doneMs = changed.map((row) => row.open_time.getTime());
    for (const timeMs of [...settled, ...doneMs]) answer.inFilesMs.push(timeMs);
    left = subtractRanges(
      left,
      slotRanges(series, isSettledByEqual ? [...doneMs, ...settled] : doneMs),
    );
  }
  if (left.length === 0) return answer;

  await stageAnswer(download, left);
  const sent = await session`select open_time from staged_klines`;
  answer.sentMs = sent.map((row) => row.open_time.getTime());
  take(await replaceStaged(download, 'rest'));
  return answer;
}

async function dayFiles(
  { source, series }: BulkDownload,
  ranges: readonly TimeRange[],
): Promise<BulkFile[]> {
  const { instrument, interval } = series;
  if (!hasDailyFiles(interval)) return [];
  const todayMs = startOfDay(await source.serverTimeMs(instrument.market));
  const days = new Set<number>();
  for (const range of ranges) {
    for (let dayMs = startOfDay(range.fromMs); dayMs < range.toMs; dayMs += DAY_MS) days.add(dayMs);
  }
  return [...days]
    .filter((dayMs) => dayMs < todayMs - DAY_MS)
    .map((dayMs) => dayFile(instrument, interval, dayMs));
}

/** Stages what of a file is better than what is stored. @returns open times stored just so */
async function stageFile(
  { session, series }: BulkDownload,
  file: BulkFile,
  { csv }: BulkContent,
  ranges: readonly TimeRange[],
): Promise<number[]> {
  await runSql(session, 'store/create_staging.sql');
  for (const wanted of ranges) {
    const page = { asked: file.range, wanted, csv, source: file.name };
    await stage(session, encoderFor(series, { ...page, askedAtMs: Number.POSITIVE_INFINITY }));
  }
  const equal = await runSql<{ open_time: Date }>(session, 'verify/repair/keep_better.sql', {
    instrument_id: series.instrument.id,
    interval: series.interval,
  });
  return equal.map((row) => row.open_time.getTime());
}

async function replaceStaged(
  { session, series }: BulkDownload,
  source: string,
): Promise<ChangedRow[]> {
  const { instrument, interval } = series;
  const [staged] = await session`select exists (select from staged_klines) as any`;
  if (!staged?.any) return [];
  await ensureTable(session, instrument);
  return await lockedTransaction(session, instrument.id, '', async (tx) => {
    return await runSql<ChangedRow>(tx, 'verify/repair/replace.sql', {
      instrument_id: instrument.id,
      interval,
      source,
    });
  });
}
