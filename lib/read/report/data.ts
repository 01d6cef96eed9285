import type postgres from 'postgres';
import { DAY_MS, inParallel, startOfDay } from '../../base/mod.ts';
import {
  addSteps,
  clipRanges,
  floorToGrid,
  type Instrument,
  type Interval,
  maxStepMs,
  type TimeRange,
} from '../../market/mod.ts';
import { lastRuns, missingRanges, type Run } from '../../store/mod.ts';
import { type InstrumentStatus, type SeriesStatus, storeStatus } from '../status.ts';
import { type ChartData, encodeChart } from './chart.ts';
import { type Coverage, describeCoverage } from './coverage.ts';
import { type Day, readDays, rowsToRead, sampleDays } from './days.ts';

const MOST_ROWS = 4_500_000;
const MOST_MOMENTS = 1_000_000;
const CONNECTIONS = 4;
/** A longer interval may end weeks before a shorter one: its next candle is not closed yet. */
const NEARLY_DAYS = 35;
const SHOWN_RUNS = 20;

export interface ArchiveRun {
  startedMs: number;
  finishedMs: number | undefined;
  host: string;
  verb: 'archive' | 'restore';
  /** The window that was asked for; without a beginning: from the first candle on. */
  fromMs: number | undefined;
  toMs: number | undefined;
  movedRows: number;
  /** Undefined: still running, or killed. */
  outcome: string | undefined;
}

/** One row of the map. */
export interface ReportSeries {
  status: InstrumentStatus;
  series: SeriesStatus;
  coverage: Coverage;
  /** Moments of each day that were looked at. Undefined: every candle was counted. */
  sampled: number | undefined;
  chart: ChartData | undefined;
}

export interface ReportData {
  madeAtMs: number;
  /** Whole UTC days, the last one is yesterday. */
  window: TimeRange;
  series: ReportSeries[];
  archiveRuns: ArchiveRun[];
  runs: Run[];
}

export interface ReportOptions {
  days: number;
  /** Default: of each instrument the shortest that reaches about as far back as any. */
  interval?: Interval | undefined;
  nowMs: number;
  /** Candles to read at most; the series after that are sampled. Default: five seconds' worth. */
  mostRows?: number;
  onSeries?: (symbol: string) => void;
}

/** Collects what the report shows, one series of each instrument. */
export async function collectReport(
  sql: postgres.Sql,
  instruments: readonly Instrument[],
  { days, interval, nowMs, mostRows = MOST_ROWS, onSeries }: ReportOptions,
): Promise<ReportData> {
  const endMs = startOfDay(nowMs);
  const window = { fromMs: endMs - days * DAY_MS, toMs: endMs };
  const stored = await storeStatus(sql, instruments, nowMs, interval && [interval]);
  const chosen = stored.flatMap((status) => {
    const series = chooseSeries(status.series, window);
    return series ? [{ status, series }] : [];
  });

  const budget = shareBudget(
    chosen.map(({ series }) => rowsToRead(series, window)),
    days,
    mostRows,
  );
  const series: ReportSeries[] = [];
  await inParallel(chosen.entries(), CONNECTIONS, async ([index, each]) => {
    const sampled = budget[index];
    const isShort = maxStepMs(each.series.interval) <= DAY_MS / (sampled ?? 1);
    const { instrument } = each.status;
    const expected = expectedRange(each.status, each.series, window);
    const known = { ...each.series, gaps: await openGaps(sql, instrument, each.series, window) };
    const found: Day[] =
      sampled === undefined || !isShort
        ? await readDays(sql, instrument, known, window, expected)
        : await sampleDays(sql, instrument, known, window, expected, sampled);
    series[index] = {
      ...each,
      coverage: describeCoverage(found),
      sampled: isShort ? sampled : undefined,
      chart: encodeChart(found),
    };
    onSeries?.(instrument.symbol);
  });
  return {
    madeAtMs: nowMs,
    window,
    series,
    archiveRuns: await archiveRuns(sql),
    // Not the one that is making the report.
    runs: (await lastRuns(sql)).filter((run) => run.verb !== 'report'),
  };
}

/** The shortest interval of those that reach about as far back as any. */
function chooseSeries(all: readonly SeriesStatus[], window: TimeRange): SeriesStatus | undefined {
  const daysOf = ({ firstMs, lastMs }: SeriesStatus) =>
    (Math.min(lastMs, window.toMs) - Math.max(firstMs, window.fromMs)) / DAY_MS;
  const most = Math.max(...all.map(daysOf));
  return all.find((series) => daysOf(series) >= most - NEARLY_DAYS);
}

/** Where candles ought to be: from the first stored one on, of a delisted symbol to its last. */
function expectedRange(
  { instrument }: InstrumentStatus,
  { interval, firstMs, lastMs }: SeriesStatus,
  window: TimeRange,
): TimeRange {
  const fromMs = floorToGrid(interval, firstMs);
  if (instrument.status === 'active') return { fromMs, toMs: window.toMs };
  return { fromMs, toMs: addSteps(interval, floorToGrid(interval, lastMs), 1) };
}

/** What the confirmed gaps still lack: some may have been filled since. */
async function openGaps(
  sql: postgres.Sql,
  instrument: Instrument,
  { interval, gaps }: SeriesStatus,
  window: TimeRange,
): Promise<TimeRange[]> {
  const lacking: TimeRange[] = [];
  for (const gap of clipRanges(gaps, window))
    for (const each of await missingRanges(sql, { instrument, interval }, gap)) lacking.push(each);
  return lacking;
}

/** @returns for each series the moments a day to look at, or undefined: read it whole */
function shareBudget(
  rows: readonly number[],
  days: number,
  mostRows: number,
): (number | undefined)[] {
  let left = mostRows;
  const isWhole = rows.map((count) => {
    left -= count;
    return left >= 0;
  });
  const sampled = isWhole.filter((whole) => !whole).length;
  const perDay = MOST_MOMENTS / Math.max(1, sampled * days);
  const moments = [24, 12, 8, 6, 4, 3, 2].find((count) => count <= perDay) ?? 1;
  return isWhole.map((whole) => (whole ? undefined : moments));
}

async function archiveRuns(sql: postgres.Sql): Promise<ArchiveRun[]> {
  const rows = await sql`
    select verb, started_at, finished_at, host, from_time, to_time, moved_rows, outcome
    from archive_runs
    order by id desc
    limit ${SHOWN_RUNS}`;
  return rows.map((row) => ({
    startedMs: row.started_at.getTime(),
    finishedMs: row.finished_at?.getTime(),
    host: row.host,
    verb: row.verb,
    fromMs: row.from_time?.getTime(),
    toMs: row.to_time?.getTime(),
    movedRows: Number(row.moved_rows),
    outcome: row.outcome ?? undefined,
  }));
}
