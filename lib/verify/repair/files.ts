/** Settles the differences between bulk files and the store: REST decides about each candle. */
import { type BulkContent, type BulkFile, UnknownSymbolError } from '../../binance/mod.ts';
import { type BulkDownload, downloadOrSkip } from '../../download/mod.ts';
import { floorToGrid, slotRanges, subtractRanges } from '../../market/mod.ts';
import { runSql } from '../../postgres/mod.ts';
import { KlineEncoder, logDifferences, recordComparedFile, stage } from '../../store/mod.ts';
import {
  compareFile,
  type Finding,
  filesToCompare,
  joinFileFindings,
  recordPublished,
  type SeriesReport,
  unsettledTimes,
} from '../mod.ts';
import { followChanges } from './archive.ts';
import type { RepairCounts } from './plan.ts';
import { type Change, replaceFromRest, replaceStaged } from './replace.ts';

/** Candles that are at most this many slots apart are requested together. */
const APART = 100;

/**
 * Settles what the files of one series differ in: requests exactly these candles over REST and stores
 * what it sends. A candle that REST does not have stays; where none is stored, the file's is stored. Files
 * that then differ only where REST confirmed the stored candle are recorded as compared.
 * @param download its session holds the instrument's lock
 * @param report what was found in the series
 * @param differing the files that differed
 * @param since when the repair began
 * @returns what still differs, and what was done
 */
export async function repairFiles(
  download: BulkDownload,
  report: SeriesReport,
  differing: readonly BulkFile[],
  since: Date,
): Promise<{ findings: Finding[]; counts: RepairCounts }> {
  const { session, bulk, signal } = download;
  const names = new Set(differing.map(({ name }) => name));
  // Another run may have loaded some of them.
  const left = await filesToCompare(
    session,
    download,
    differing.map(({ range }) => range),
  );
  const findings: Finding[] = [];
  const changes: Change[] = [];
  let asPublished = 0;
  for (const file of left.filter(({ name }) => names.has(name))) {
    signal.throwIfAborted();
    const release = await bulk.semaphore.acquire(signal);
    try {
      const content = await downloadOrSkip(download, file);
      if (!content) continue;
      const settled = await settleFile(download, report, file, content);
      findings.push(...settled.findings);
      for (const change of settled.changes) changes.push(change);
      asPublished += settled.asPublished;
    } finally {
      release();
    }
  }
  const followed = await followChanges(download, changes, changes.length > 0, since);
  const all = [...changes, ...followed.changes];
  const removed = all.filter((change) => change.isRemoved).length;
  return {
    findings: joinFileFindings(findings),
    counts: {
      filled: all.filter((change) => change.isNew).length,
      replaced: all.filter((change) => !change.isNew && !change.isRemoved).length,
      removed,
      copiesDeleted: 0,
      confirmed: 0,
      asPublished,
      checkpoints: followed.checkpoints,
    },
  };
}

async function settleFile(
  download: BulkDownload,
  report: SeriesReport,
  file: BulkFile,
  content: BulkContent,
): Promise<{ findings: Finding[]; changes: Change[]; asPublished: number }> {
  const { session, series } = download;
  const toSlot = (openMs: number) => floorToGrid(series.interval, openMs);
  const asked = new Set<number>();
  const sent = new Set<number>();
  const changes: Change[] = [];
  let asPublished = 0;
  for (;;) {
    const { findings, rows } = await compareFile(session, download, report, file, content);
    // A finding lists a thousand candles at most, so there may be more after these are settled.
    const open = unsettledTimes(findings).map(toSlot);
    const unasked = open.filter((slotMs) => !asked.has(slotMs));
    if (unasked.length === 0) {
      if (open.length === 0) await recordComparedFile(session, series, file, content.sha256, rows);
      return { findings, changes, asPublished };
    }
    for (const slotMs of unasked) asked.add(slotMs);
    const replaced = await requestTwice(download, unasked);
    for (const change of replaced.changes) changes.push(change);
    for (const openMs of replaced.sentMs) sent.add(toSlot(openMs));
    for (const change of await storeFromFile(download, findings, sent, file, content))
      changes.push(change);
    asPublished += await recordSettled(download, report, file, content, sent);
  }
}

/** Requests slots over REST and stores its candles. What an answer is missing is requested once more, since it may be a broken one. */
async function requestTwice(download: BulkDownload, slots: readonly number[]) {
  const { interval } = download.series;
  const changes: Change[] = [];
  const sentMs: number[] = [];
  let left = slotRanges(interval, slots, APART);
  for (let attempt = 1; attempt <= 2; attempt++) {
    try {
      const replaced = await replaceFromRest(download, left);
      for (const change of replaced.changes) changes.push(change);
      for (const openMs of replaced.sentMs) sentMs.push(openMs);
    } catch (error) {
      // REST does not serve some delisted symbols, whose files are still published.
      if (!(error instanceof UnknownSymbolError)) throw error;
    }
    const received = new Set(sentMs.map((openMs) => floorToGrid(interval, openMs)));
    left = slotRanges(
      interval,
      slots.filter((slotMs) => !received.has(slotMs)),
      APART,
    );
    left = subtractRanges(left, slotRanges(interval, [...received]));
  }
  return { changes, sentMs };
}

/** Stores the file's candles where none is stored and REST sent none. */
async function storeFromFile(
  download: BulkDownload,
  findings: readonly Finding[],
  sent: ReadonlySet<number>,
  file: BulkFile,
  content: BulkContent,
): Promise<Change[]> {
  const { interval } = download.series;
  const slots = findings
    .filter(({ check }) => check === 'not-stored' || check === 'missing')
    .flatMap(({ rows }) => rows.map(({ fromMs }) => floorToGrid(interval, fromMs)))
    .filter((slotMs) => !sent.has(slotMs));
  if (slots.length === 0) return [];
  await stageFile(download, slots, file, content);
  return await replaceStaged(download, file.name);
}

/**
 * Records the candles that differ from the file although REST has sent what is stored, in the log
 * of repairs with the values of both, and as published.
 * @returns how many
 */
async function recordSettled(
  download: BulkDownload,
  report: SeriesReport,
  file: BulkFile,
  content: BulkContent,
  sent: ReadonlySet<number>,
): Promise<number> {
  const { session, series } = download;
  const { findings } = await compareFile(session, download, report, file, content);
  const settled = findings
    .filter(({ isPublished }) => !isPublished)
    .flatMap(({ check, rows }) => rows.map((row) => ({ check, row })))
    .filter(({ row }) => sent.has(floorToGrid(series.interval, row.fromMs)));
  if (settled.length === 0) return 0;
  const slots = settled.map(({ row }) => floorToGrid(series.interval, row.fromMs));
  await stageFile(download, slots, file, content);
  await logDifferences(session, series, file.name);
  await recordPublished(session, series, settled);
  return settled.length;
}

/** Puts the file's candles of some slots into an empty staging table. */
async function stageFile(
  { session, series, source }: BulkDownload,
  slots: readonly number[],
  file: BulkFile,
  content: BulkContent,
): Promise<void> {
  await runSql(session, 'store/create_staging.sql');
  const askedAtMs = await source.serverTimeMs(series.instrument.market);
  for (const wanted of slotRanges(series.interval, slots)) {
    const page = { asked: file.range, wanted, csv: content.csv, askedAtMs, source: file.name };
    await stage(session, new KlineEncoder(series, page));
  }
}
