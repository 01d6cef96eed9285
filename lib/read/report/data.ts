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
import { readAccess } from '../access.ts';
import { type InstrumentStatus, type SeriesStatus, storeStatus } from '../status.ts';
import { type ChartData, encodeChart } from './chart.ts';
import { type Coverage, toCoverage } from './coverage.ts';
import { countRows, readDays, sampleDays } from './days.ts';
import { type ArchiveRun, latestArchiveRuns } from './run-tables.ts';

const MOST_ROWS = 4_500_000;
const MOST_MOMENTS = 1_000_000;
const CONNECTIONS = 4;
/** A longer interval may end weeks before a shorter one, because its next candle has not closed. */
const NEARLY_DAYS = 35;

/** One row of the map. */
export interface ReportSeries {
  status: InstrumentStatus;
  series: SeriesStatus;
  coverage: Coverage;
  /** How many moments of each day were looked at. Undefined: every candle was counted. */
  sampled: number | undefined;
  chart: ChartData | undefined;
}

export interface ReportData {
  madeAtMs: number;
  /** Whole UTC days; the last one is yesterday. */
  window: TimeRange;
  series: ReportSeries[];
  archiveRuns: ArchiveRun[];
  runs: Run[];
}

export interface ReportOptions {
  days: number;
  /** Default: for each instrument the shortest that reaches about as far back as any. */
  interval?: Interval | undefined;
  nowMs: number;
  /** Maximum number of candles to read; further series are sampled. Default: about five seconds. */
  mostRows?: number;
  onSeries?: (symbol: string) => void;
}

/** Collects the content of the report, with one series of each instrument. */
export async function collectReport(
  sql: postgres.Sql,
  instruments: readonly Instrument[],
  { days, interval, nowMs, mostRows = MOST_ROWS, onSeries }: ReportOptions,
): Promise<ReportData> {
  const endMs = startOfDay(nowMs);
  const window = { fromMs: endMs - days * DAY_MS, toMs: endMs };
  const access = await readAccess(sql);
  const intervals = interval && [interval];
  const stored = await storeStatus(sql, access, instruments, nowMs, intervals);
  const chosen = stored.flatMap((status) => {
    const series = chooseSeries(status.series, window);
    return series ? [{ status, series }] : [];
  });

  const rows = chosen.map((each) => countRows(each.series, window));
  const moments = chooseMoments(rows, days, mostRows);
  const series: ReportSeries[] = [];
  await inParallel(chosen.entries(), CONNECTIONS, async ([index, each]) => {
    series[index] = await collectSeries(sql, each, window, moments[index]);
    onSeries?.(each.status.instrument.symbol);
  });
  return {
    madeAtMs: nowMs,
    window,
    series,
    archiveRuns: await latestArchiveRuns(sql),
    // Without the run that is making this report.
    runs: (await lastRuns(sql)).filter((run) => run.verb !== 'report'),
  };
}

/** @param moments of each day to look at; undefined: read every candle */
async function collectSeries(
  sql: postgres.Sql,
  { status, series }: Pick<ReportSeries, 'status' | 'series'>,
  window: TimeRange,
  moments: number | undefined,
): Promise<ReportSeries> {
  const { instrument } = status;
  const gaps = await openGaps(sql, instrument, series, window);
  const expected = expectedRange(instrument, series, window);
  const scope = { instrument, series: { ...series, gaps }, window, expected };
  // Sampling would find a candle longer than the time between two moments more than once.
  const sampled = moments && maxStepMs(series.interval) <= DAY_MS / moments ? moments : undefined;
  const days = sampled ? await sampleDays(sql, scope, sampled) : await readDays(sql, scope);
  return { status, series, sampled, coverage: toCoverage(days), chart: encodeChart(days) };
}

/** Chooses the shortest of the intervals that reach about as far back as any. */
function chooseSeries(all: readonly SeriesStatus[], window: TimeRange): SeriesStatus | undefined {
  const countDays = ({ firstMs, lastMs }: SeriesStatus) =>
    (Math.min(lastMs, window.toMs) - Math.max(firstMs, window.fromMs)) / DAY_MS;
  const most = Math.max(...all.map(countDays));
  return all.find((series) => countDays(series) >= most - NEARLY_DAYS);
}

/** Where candles should be: from the first stored one on, of a delisted symbol to its last. */
function expectedRange(
  instrument: Instrument,
  { interval, firstMs, lastMs }: SeriesStatus,
  window: TimeRange,
): TimeRange {
  const fromMs = floorToGrid(interval, firstMs);
  if (instrument.status === 'active') return { fromMs, toMs: window.toMs };
  return { fromMs, toMs: addSteps(interval, floorToGrid(interval, lastMs), 1) };
}

/** What is still missing in the confirmed gaps: some may have been filled since. */
async function openGaps(
  sql: postgres.Sql,
  instrument: Instrument,
  { interval, gaps }: SeriesStatus,
  window: TimeRange,
): Promise<TimeRange[]> {
  let missing: TimeRange[] = [];
  for (const gap of clipRanges(gaps, window))
    missing = missing.concat(await missingRanges(sql, { instrument, interval }, gap));
  return missing;
}

/**
 * Chooses the series that are sampled: those after the first `mostRows` rows.
 * @param rows of each series
 * @returns for each series how many moments of each day to look at; undefined: read every candle
 */
function chooseMoments(
  rows: readonly number[],
  days: number,
  mostRows: number,
): (number | undefined)[] {
  let left = mostRows;
  const isRead = rows.map((count) => {
    left -= count;
    return left >= 0;
  });
  const sampled = isRead.filter((read) => !read).length;
  const perDay = MOST_MOMENTS / Math.max(1, sampled * days);
  const moments = [24, 12, 8, 6, 4, 3, 2].find((count) => count <= perDay) ?? 1;
  return isRead.map((read) => (read ? undefined : moments));
}
