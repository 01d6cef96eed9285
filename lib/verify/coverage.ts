import { DAY_MS } from '../base/mod.ts';
import {
  addSteps,
  clipRanges,
  countAllSlots,
  countSlots,
  floorToGrid,
  type Series,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import { confirmedGaps, loadedFiles, missingRanges, openGaps } from '../store/mod.ts';
import { daysToSearch } from './days.ts';
import { type Finding, findingsFrom, type SeriesReport } from './findings.ts';
import { archivedRange, lostEnds } from './lost-ends.ts';
import type { SeriesCheck } from './series-check.ts';

/** More searches than this cost more than one search over the whole range. */
const MAX_SEARCHES = 200;
/** A series this little behind is not stale: `update` may be running. */
const STALE_SLOTS = 2;
const STALE_MS = 10 * 60_000;

/** A loaded bulk file, and how many of its candles are not stored any more. */
interface CheckedFile {
  name: string;
  range: TimeRange;
  rows: number;
  gone: number;
}

/**
 * Finds the slots without a candle, from the first candle of a series to the last, or to where
 * archive batches and bulk files had some. Distinguishes lost candles from gaps that the exchange has as well.
 */
export async function checkCoverage(
  check: SeriesCheck,
): Promise<Pick<SeriesReport, 'findings' | 'missing'>> {
  const { sql, series, stored, bounds, busyWith } = check;
  const { interval } = series;
  const span = stored && {
    fromMs: floorToGrid(interval, stored.firstMs),
    toMs: addSteps(interval, floorToGrid(interval, stored.lastMs), 1),
  };
  const spans = span ? [span] : [];
  const confirmed = await confirmedGaps(sql, series);
  const empty = await findEmptySlots(check, clipRanges(spans, bounds));
  const gaps = empty.flatMap((range) => clipRanges(confirmed, range));
  const lostInside = subtractRanges(empty, confirmed);

  const files = [...(await loadedFiles(sql, series)).values()]
    .filter(({ range }) => range.fromMs >= bounds.fromMs && range.toMs <= bounds.toMs)
    .map((file): CheckedFile => {
      const storedRows = countIn(series, spans, file.range) - countIn(series, empty, file.range);
      return { ...file, gone: file.rows - storedRows };
    });
  const ends = lostEnds(
    interval,
    span,
    await archivedRange(sql, series),
    files.map(({ range, gone }) => ({ range, lost: gone - countIn(series, lostInside, range) })),
  );
  const lostOutside = subtractRanges(clipRanges(ends, bounds), confirmed);

  const missing = [...lostInside, ...lostOutside].sort((a, b) => a.fromMs - b.fromMs);
  const asked = missing.length > 0 ? await openGaps(sql, series) : [];
  const open = missing.flatMap((range) => clipRanges(asked, range));
  const unasked = subtractRanges(missing, open);
  const endMs = Math.max(span?.toMs ?? 0, missing.at(-1)?.toMs ?? 0);
  const toRow = (range: TimeRange, note = '') => ({
    ...range,
    detail: `(${countSlots(interval, range)}${note})`,
  });
  const findings = [
    ...findingsFrom(
      series,
      'missing',
      unasked.map((range) => toRow(range, busyWith ? `, ${busyWith} is running` : '')),
      { count: countAllSlots(interval, unasked), severity: busyWith ? 'info' : 'error' },
    ),
    ...findingsFrom(
      series,
      'open-gap',
      open.map((range) => toRow(range)),
      { count: countAllSlots(interval, open) },
    ),
    ...findingsFrom(
      series,
      'confirmed-gap',
      gaps.map((range) => toRow(range)),
      { count: countAllSlots(interval, gaps) },
    ),
    ...checkFiles(series, files, missing, gaps),
    ...checkStale(check, endMs, confirmed),
  ];
  return { missing, findings };
}

/** Searches the days that are not complete. */
async function findEmptySlots(
  { sql, series, days }: SeriesCheck,
  ranges: readonly TimeRange[],
): Promise<TimeRange[]> {
  const suspected = ranges.flatMap((range) => daysToSearch(series, days, range));
  const searches =
    suspected.length > MAX_SEARCHES
      ? [{ fromMs: suspected[0]!.fromMs, toMs: suspected.at(-1)!.toMs }]
      : suspected;
  const empty: TimeRange[][] = [];
  for (const search of searches) empty.push(await missingRanges(sql, series, search));
  return empty.flat();
}

/** Finds files that had candles where a gap is confirmed: then the exchange has them after all. */
function checkFiles(
  series: Series,
  files: readonly CheckedFile[],
  missing: readonly TimeRange[],
  gaps: readonly TimeRange[],
): Finding[] {
  const short = files
    .map((file) => {
      const { range, gone } = file;
      const lost = Math.min(gone - countIn(series, missing, range), countIn(series, gaps, range));
      return { ...file, lost };
    })
    .filter((file) => file.lost > 0);
  const rows = short.map(({ name, range, rows, gone }) => ({
    ...range,
    detail: `${name} had ${rows}, ${rows - gone} are stored`,
  }));
  const count = short.reduce((sum, file) => sum + file.lost, 0);
  return findingsFrom(series, 'loaded-file', rows, { count });
}

/** Whether a series ends before the last closed candle, or before its delisting. */
function checkStale(
  { series, nowMs, delistedAtMs, bounds, busyWith }: SeriesCheck,
  endMs: number,
  confirmed: readonly TimeRange[],
): Finding[] {
  const { instrument, interval } = series;
  // A delisting may be registered a day late.
  const untilMs = instrument.status === 'active' ? nowMs : (delistedAtMs ?? 0) - DAY_MS;
  if (untilMs > bounds.toMs || busyWith) return [];
  const closed = { fromMs: endMs, toMs: floorToGrid(interval, untilMs) };
  const behind = subtractRanges([closed], confirmed);
  const count = countAllSlots(interval, behind);
  const [first] = behind;
  if (!first || count <= STALE_SLOTS || untilMs - first.fromMs <= STALE_MS) return [];
  const row = { fromMs: first.fromMs, detail: 'is the first missing candle' };
  return findingsFrom(series, 'stale', [row], { count });
}

function countIn({ interval }: Series, ranges: readonly TimeRange[], bounds: TimeRange): number {
  return countAllSlots(interval, clipRanges(ranges, bounds));
}
