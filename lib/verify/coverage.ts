import { DAY_MS } from '../base/mod.ts';
import {
  addSteps,
  ceilToGrid,
  clipRanges,
  countAllSlots,
  countSlots,
  floorToGrid,
  type Series,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import { confirmedGaps, missingRanges, type StoredSeries } from '../store/mod.ts';
import { type DayCounts, daysToSearch } from './days.ts';
import { type Finding, findingOf } from './findings.ts';

/** More than this many searches cost more than one over all. */
const MAX_SEARCHES = 200;
/** Behind by no more than this is not stale: `update` may be at it. */
const STALE_SLOTS = 2;
const STALE_MS = 10 * 60_000;

export interface Coverage {
  findings: Finding[];
  /** Not stored and not confirmed, oldest first. */
  missing: TimeRange[];
}

export interface CoverageFacts {
  /** PostgreSQL's clock, Unix ms. */
  nowMs: number;
  delistedAtMs: number | undefined;
  /** What the run looks at. */
  bounds: TimeRange;
  days: ReadonlyMap<number, DayCounts>;
  /** The script that works on the instrument right now: what is missing may be on its way. */
  busyWith: string | undefined;
}

/** A bulk file that was loaded, with the candles that it brought. */
interface LoadedFile extends TimeRange {
  name: string;
  rows: number;
}

/**
 * Which slots of the grid hold no candle: from the first one stored, or the first one that we
 * know was stored, to the last, told apart into our own loss and what the exchange lacks.
 * @param stored undefined: no candle is left of the series
 */
export async function checkCoverage(
  sql: Sql,
  series: Series,
  stored: StoredSeries | undefined,
  facts: CoverageFacts,
): Promise<Coverage> {
  const { interval } = series;
  const { bounds, days } = facts;
  const confirmed = await confirmedGaps(sql, series);
  const span = stored && {
    fromMs: floorToGrid(interval, stored.firstMs),
    toMs: addSteps(interval, floorToGrid(interval, stored.lastMs), 1),
  };

  const absent = span ? await absentWithin(sql, series, clipRanges([span], bounds)[0], days) : [];
  const files = await loadedFiles(sql, series, bounds);
  const moved = await archivedRange(sql, series);
  const own = subtractRanges(absent, confirmed);
  const present = (file: TimeRange) =>
    countAllSlots(interval, subtractRanges(clipRanges(span ? [span] : [], file), absent));
  const lost = lostEnds(series, span, files, moved, own, present);
  const missing = [
    ...subtractRanges(clipRanges(lost.head, bounds), confirmed),
    ...own,
    ...subtractRanges(clipRanges(lost.tail, bounds), confirmed),
  ];
  const gaps = absent.flatMap((range) => clipRanges(confirmed, range));

  const findings: Finding[] = [];
  if (missing.length > 0) {
    const rows = missing.map((range) => ({
      ...range,
      detail: `(${countSlots(interval, range)}${facts.busyWith ? `, ${facts.busyWith} works on it` : ''})`,
    }));
    const options = facts.busyWith ? { severity: 'info' as const } : {};
    findings.push(findingOf(series, 'missing', countAllSlots(interval, missing), rows, options));
  }
  if (gaps.length > 0) {
    const rows = gaps.map((range) => ({ ...range, detail: `(${countSlots(interval, range)})` }));
    findings.push(findingOf(series, 'confirmed-gap', countAllSlots(interval, gaps), rows));
  }
  findings.push(...checkFiles(series, files, missing, gaps, present));
  const endMs = missing.reduce((most, range) => Math.max(most, range.toMs), span?.toMs ?? 0);
  findings.push(...checkStale(series, endMs, confirmed, facts));
  return { findings, missing };
}

async function absentWithin(
  sql: Sql,
  series: Series,
  range: TimeRange | undefined,
  days: ReadonlyMap<number, DayCounts>,
): Promise<TimeRange[]> {
  if (!range) return [];
  const suspected = daysToSearch(series, days, range);
  const searches =
    suspected.length > MAX_SEARCHES
      ? [{ fromMs: suspected[0]!.fromMs, toMs: suspected.at(-1)!.toMs }]
      : suspected;
  const absent: TimeRange[] = [];
  for (const search of searches)
    for (const each of await missingRanges(sql, series, search)) absent.push(each);
  return absent;
}

async function loadedFiles(
  sql: Sql,
  { instrument, interval }: Series,
  bounds: TimeRange,
): Promise<LoadedFile[]> {
  const rows = await sql`
    select name, from_time, to_time, rows
    from loaded_files
    where instrument_id = ${instrument.id}
      and interval = ${interval}
      and from_time >= ${new Date(bounds.fromMs)}
      and to_time <= ${new Date(bounds.toMs)}
    order by from_time, to_time`;
  return rows.map((row) => ({
    name: row.name,
    fromMs: row.from_time.getTime(),
    toMs: row.to_time.getTime(),
    rows: row.rows,
  }));
}

/** From the first to the last candle that was ever archived. */
async function archivedRange(
  sql: Sql,
  { instrument, interval }: Series,
): Promise<TimeRange | undefined> {
  const [row] = await sql`
    select min(from_time) as from_time, max(to_time) as to_time
    from archive_batches
    where instrument_id = ${instrument.id} and interval = ${interval} and moved_rows > 0`;
  if (!row?.from_time) return undefined;
  return {
    fromMs: floorToGrid(interval, row.from_time.getTime()),
    toMs: addSteps(interval, floorToGrid(interval, row.to_time.getTime() - 1), 1),
  };
}

/**
 * What was stored once before the first or behind the last candle of today: bulk files and
 * archive batches were written down with what they brought.
 */
function lostEnds(
  { interval }: Series,
  span: TimeRange | undefined,
  files: readonly LoadedFile[],
  moved: TimeRange | undefined,
  missing: readonly TimeRange[],
  present: (file: TimeRange) => number,
): { head: TimeRange[]; tail: TimeRange[] } {
  let first = Number.POSITIVE_INFINITY;
  let last = 0;
  const reachTo = (fromMs: number, toMs: number) => {
    first = Math.min(first, fromMs);
    last = Math.max(last, toMs);
  };
  if (moved) reachTo(moved.fromMs, moved.toMs);
  for (const file of files) {
    const [fromMs, toMs] = [ceilToGrid(interval, file.fromMs), ceilToGrid(interval, file.toMs)];
    const known = countAllSlots(interval, clipRanges(missing, file));
    let lost = file.rows - present(file) - known;
    if (lost <= 0) continue;
    if (!span) reachTo(fromMs, toMs);
    else if (toMs <= span.fromMs) reachTo(addSteps(interval, toMs, -lost), toMs);
    else if (fromMs >= span.toMs) reachTo(fromMs, addSteps(interval, fromMs, lost));
    else {
      // In the file that holds our last candle the end is what is lost first.
      const behind = Math.min(lost, countSlots(interval, { fromMs: span.toMs, toMs }));
      if (behind > 0) last = Math.max(last, addSteps(interval, span.toMs, behind));
      lost -= behind;
      const before = Math.min(lost, countSlots(interval, { fromMs, toMs: span.fromMs }));
      if (before > 0) first = Math.min(first, addSteps(interval, span.fromMs, -before));
    }
  }
  if (!span) return { head: first < last ? [{ fromMs: first, toMs: last }] : [], tail: [] };
  return {
    head: first < span.fromMs ? [{ fromMs: first, toMs: span.fromMs }] : [],
    tail: last > span.toMs ? [{ fromMs: span.toMs, toMs: last }] : [],
  };
}

/** A file had candles where a gap is confirmed: then it is not the exchange that lacks them. */
function checkFiles(
  series: Series,
  files: readonly LoadedFile[],
  missing: readonly TimeRange[],
  gaps: readonly TimeRange[],
  present: (file: TimeRange) => number,
): Finding[] {
  const { interval } = series;
  const short = files.flatMap((file) => {
    const stored = present(file);
    const known = countAllSlots(interval, clipRanges(missing, file));
    const inGaps = countAllSlots(interval, clipRanges(gaps, file));
    const lost = Math.min(file.rows - stored - known, inGaps);
    const detail = `${file.name} had ${file.rows}, ${stored} are stored`;
    return lost > 0 ? [{ lost, row: { fromMs: file.fromMs, toMs: file.toMs, detail } }] : [];
  });
  if (short.length === 0) return [];
  const lost = short.reduce((sum, each) => sum + each.lost, 0);
  return [
    findingOf(
      series,
      'loaded-file',
      lost,
      short.map((each) => each.row),
    ),
  ];
}

/** Whether a series ends before the last closed candle; a delisted one: before its delisting. */
function checkStale(
  series: Series,
  endMs: number,
  confirmed: readonly TimeRange[],
  { nowMs, delistedAtMs, bounds, busyWith }: CoverageFacts,
): Finding[] {
  const { instrument, interval } = series;
  // The registry learns of a delisting up to a day late.
  const untilMs = instrument.status === 'active' ? nowMs : (delistedAtMs ?? 0) - DAY_MS;
  if (untilMs > bounds.toMs || busyWith) return [];
  const behind = subtractRanges(
    [{ fromMs: endMs, toMs: floorToGrid(interval, untilMs) }].filter(
      (range) => range.fromMs < range.toMs,
    ),
    confirmed,
  );
  const slots = countAllSlots(interval, behind);
  const [first] = behind;
  if (!first || slots <= STALE_SLOTS || untilMs - first.fromMs <= STALE_MS) return [];
  const row = { fromMs: first.fromMs, detail: 'is where it ends' };
  return [findingOf(series, 'stale', slots, [row])];
}
