import { inParallel } from '../base/mod.ts';
import type { BulkContent, BulkFile } from '../binance/mod.ts';
import { type BulkDownload, downloadOrSkip, findEndedFiles } from '../download/mod.ts';
import {
  addSteps,
  clipRanges,
  floorToGrid,
  READER_VERSION,
  rangeValues,
  readKlines,
  type TimeRange,
} from '../market/mod.ts';
import { CANDLE_COLUMNS, type Sql } from '../postgres/mod.ts';
import { comparedFiles, loadedFiles, recordComparedFile } from '../store/mod.ts';
import { type Finding, findingsFrom, joinFindings, type SeriesReport } from './findings.ts';
import { findCandles } from './found-candles.ts';

/** Files of one series that are compared at the same time. All series together share the semaphore. */
const FILES_AT_ONCE = 3;

/** Where files come from. Nothing is written with it. */
export type FileSources = Pick<BulkDownload, 'source' | 'bulk' | 'signal'>;

/** What the comparison of a series with its files found. */
export interface FilesReport {
  findings: Finding[];
  /** Those of them that are not about the files in `differing`. */
  settled: Finding[];
  /** How many files were compared. */
  compared: number;
  /** The files that differ in more than what Binance has confirmed. */
  differing: BulkFile[];
}

/** A file beside the stored candles of its range. */
export interface FileComparison {
  /** Candles of the file that were compared. */
  rows: number;
  /** A `missing` finding stands for candles that the series report counts already. */
  findings: Finding[];
}

/**
 * Compares the published bulk files of a range with the stored candles, every field, file by file: those
 * that were not loaded, or were read by another version of the reader.
 * Files are compared in full, also where only a part of them lies in `bounds`. A file that is not
 * published yet is left out.
 * @param sql only read from, unless `records`
 * @param records whether to record the files without a difference, which are then not compared again
 */
export async function compareFiles(
  sql: Sql,
  sources: FileSources,
  report: SeriesReport,
  bounds: TimeRange,
  records: boolean,
): Promise<FilesReport> {
  const { series, stored } = report;
  const span = stored ? [{ fromMs: stored.firstMs, toMs: stored.lastMs + 1 }] : [];
  const files = await filesToCompare(sql, { ...sources, series }, clipRanges(span, bounds));
  const results: { file: BulkFile; findings: Finding[]; isCompared: boolean }[] = [];
  await inParallel(files.entries(), FILES_AT_ONCE, async ([index, file]) => {
    sources.signal.throwIfAborted();
    const bad: Error[] = [];
    const onBadFile = (error: Error) => bad.push(error);
    const release = await sources.bulk.semaphore.acquire(sources.signal);
    try {
      const content = await downloadOrSkip({ ...sources, onBadFile }, file);
      const rows = bad.map(({ message }) => ({ ...file.range, detail: message }));
      const findings = findingsFrom(series, 'unverifiable-file', rows);
      if (content) {
        const compared = await compareFile(sql, sources, report, file, content);
        if (records && compared.findings.every(({ isPublished }) => isPublished))
          await recordComparedFile(sql, series, file, content.sha256, compared.rows);
        findings.push(...compared.findings);
      }
      results[index] = { file, findings, isCompared: content !== undefined };
    } finally {
      release();
    }
  });
  const differing = results.filter(({ findings }) => findings.some(isFileDifference));
  const settled = results.filter((result) => !differing.includes(result));
  return {
    findings: joinFileFindings(results.flatMap(({ findings }) => findings)),
    settled: joinFileFindings(settled.flatMap(({ findings }) => findings)),
    compared: results.filter(({ isCompared }) => isCompared).length,
    differing: differing.map(({ file }) => file),
  };
}

/** Whether the finding is a difference between a file and the store that is not settled. */
function isFileDifference({ check, isPublished }: Finding): boolean {
  return check !== 'unverifiable-file' && !isPublished;
}

/** The files of the ranges that were neither loaded nor compared with this version of the reader. */
export async function filesToCompare(
  sql: Sql,
  download: Pick<BulkDownload, 'source' | 'series'>,
  ranges: readonly TimeRange[],
): Promise<BulkFile[]> {
  if (ranges.length === 0) return [];
  const compared = await comparedFiles(sql, download.series);
  const loaded = await loadedFiles(sql, download.series);
  const files = await findEndedFiles(download, ranges);
  // A day is compared although its month was loaded: the two files may differ.
  return files.filter(
    ({ name }) => !compared.has(name) && loaded.get(name)?.readerVersion !== READER_VERSION,
  );
}

/** Compares one file with the stored candles of its range, from the first candle of the series to the last. */
export async function compareFile(
  sql: Sql,
  { source }: Pick<BulkDownload, 'source'>,
  { series, stored, missing }: SeriesReport,
  file: BulkFile,
  content: BulkContent,
): Promise<FileComparison> {
  const { instrument, interval } = series;
  if (!stored) return { rows: 0, findings: [] };
  const fromMs = floorToGrid(interval, stored.firstMs);
  const toMs = addSteps(interval, floorToGrid(interval, stored.lastMs), 1);
  const [wanted = { fromMs, toMs: fromMs }] = clipRanges([{ fromMs, toMs }], file.range);
  const { candles } = readKlines(content.csv, {
    interval,
    asked: file.range,
    wanted,
    askedAtMs: await source.serverTimeMs(instrument.market),
  });
  const absent = clipRanges(missing, wanted);
  const findings = await findCandles(sql, series, 'verify/file_differences.sql', {
    ...rangeValues(series, wanted),
    ...Object.fromEntries(
      CANDLE_COLUMNS.map((column) => [
        column,
        `{${candles.map((candle) => candle[column]).join()}}`,
      ]),
    ),
    missing_from: `{${absent.map((range) => new Date(range.fromMs).toISOString()).join()}}`,
    missing_to: `{${absent.map((range) => new Date(range.toMs).toISOString()).join()}}`,
    file: file.name,
  });
  return { rows: candles.length, findings };
}

/** Joins the findings of several files, without what the series report has as missing. */
export function joinFileFindings(findings: readonly Finding[]): Finding[] {
  return joinFindings(findings.filter(({ check }) => check !== 'missing'));
}

/** The open times of the candles that differ and are not settled, Unix ms. */
export function unsettledTimes(findings: readonly Finding[]): number[] {
  return findings
    .filter(isFileDifference)
    .flatMap(({ rows }) => rows)
    .map(({ fromMs }) => fromMs);
}
