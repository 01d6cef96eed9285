import type postgres from 'postgres';
import { DAY_MS, spanForSql } from '../../base/mod.ts';
import {
  clipRanges,
  countAllSlots,
  countSlots,
  floorToGrid,
  type Instrument,
  maxStepMs,
  rangeValues,
  type TimeRange,
} from '../../market/mod.ts';
import { runSql } from '../../postgres/mod.ts';
import type { SeriesStatus } from '../status.ts';

/** One UTC day of one series. */
export interface Day {
  /** Days since the window began. */
  index: number;
  /** Number of stored candles, and how many of them are archived. */
  found: number;
  archived: number;
  /** Number of candles that should be there. */
  wanted: number;
  /** How many of them the exchange does not have. */
  gap: number;
  /** Undefined if the day was sampled or has no candle. */
  prices: [open: number, high: number, low: number, close: number] | undefined;
}

/** One series and the days to read. */
export interface SeriesWindow {
  instrument: Instrument;
  series: SeriesStatus;
  /** Whole UTC days. */
  window: TimeRange;
  /** Where candles should be. */
  expected: TimeRange;
}

interface DayRow extends Pick<Day, 'found' | 'archived'> {
  /** Unix ms. */
  dayMs: number;
  open?: number;
  high?: number;
  low?: number;
  close?: number;
}

/** How many candles `readDays` reads of a series. */
export function countRows({ interval, firstMs, lastMs }: SeriesStatus, window: TimeRange): number {
  return countAllSlots(interval, clipRanges([{ fromMs: firstMs, toMs: lastMs + 1 }], window));
}

/** Reads every candle of each day. A candle longer than a day counts for each of its days. */
export async function readDays(sql: postgres.Sql, scope: SeriesWindow): Promise<Day[]> {
  const { instrument, series, window, expected } = scope;
  const unit = maxStepMs(series.interval) > DAY_MS ? '1d' : series.interval;
  const values = rangeValues({ instrument, interval: series.interval }, window);
  const rows = await runSql<DayRow>(sql, 'read/report_days.sql', values);
  return toDays(rows, scope, (day) => ({
    wanted: countAllSlots(unit, clipRanges([day], expected)),
    gap: countAllSlots(unit, clipRanges(series.gaps, day)),
  }));
}

/** Looks for a candle at `moments` times of each day. Reads no prices. */
export async function sampleDays(
  sql: postgres.Sql,
  scope: SeriesWindow,
  moments: number,
): Promise<Day[]> {
  const { instrument, series, window, expected } = scope;
  const apartMs = DAY_MS / moments;
  const rows = await runSql<DayRow>(sql, 'read/sampled_days.sql', {
    ...rangeValues({ instrument, interval: series.interval }, window),
    moments,
    apart: spanForSql(apartMs),
    step: spanForSql(maxStepMs(series.interval)),
  });
  return toDays(rows, scope, (day) => {
    const times = Array.from({ length: moments }, (_, number) => day.fromMs + number * apartMs);
    const isGap = (timeMs: number) => series.gaps.some((gap) => contains(gap, timeMs));
    return {
      wanted: times.filter((timeMs) => contains(expected, timeMs)).length,
      gap: times.filter(isGap).length,
    };
  });
}

/** Returns every day of the window, also those without a row. */
function toDays(
  rows: readonly DayRow[],
  { series: { interval }, window }: SeriesWindow,
  expect: (day: TimeRange) => Pick<Day, 'wanted' | 'gap'>,
): Day[] {
  const byTime = new Map(rows.map((row) => [row.dayMs, row]));
  return Array.from({ length: countSlots('1d', window) }, (_, index) => {
    const fromMs = window.fromMs + index * DAY_MS;
    const row = byTime.get(fromMs);
    const { found = 0, archived = 0, open, high = 0, low = 0, close = 0 } = row ?? {};
    // Of a candle longer than a day, its first day has the prices.
    const isFirstDay = open !== undefined && floorToGrid(interval, fromMs) === fromMs;
    const prices: Day['prices'] = isFirstDay ? [open, high, low, close] : undefined;
    return { index, found, archived, ...expect({ fromMs, toMs: fromMs + DAY_MS }), prices };
  });
}

function contains({ fromMs, toMs }: TimeRange, timeMs: number): boolean {
  return fromMs <= timeMs && timeMs < toMs;
}
