import type postgres from 'postgres';
import { DAY_MS, spanForSql } from '../../base/mod.ts';
import {
  addSteps,
  clipRanges,
  countAllSlots,
  countSlots,
  floorToGrid,
  type Instrument,
  maxStepMs,
  type TimeRange,
} from '../../market/mod.ts';
import { runSql, streamSql } from '../../postgres/mod.ts';
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

interface DayRow {
  day: Date;
  found: number;
  archived: number;
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
  const { series, expected } = scope;
  const { interval, gaps } = series;
  if (maxStepMs(interval) > DAY_MS) {
    return toDays(await readLongCandles(sql, scope), scope.window, (day) => ({
      wanted: contains(expected, day.fromMs) ? 1 : 0,
      gap: clipRanges(gaps, day).length > 0 ? 1 : 0,
    }));
  }
  const rows = await runSql<DayRow>(sql, 'read/report_days.sql', toValues(scope));
  return toDays(rows, scope.window, (day) => ({
    wanted: countAllSlots(interval, clipRanges([day], expected)),
    gap: countAllSlots(interval, clipRanges(gaps, day)),
  }));
}

/** Looks for a candle at `moments` times of each day. Reads no prices. */
export async function sampleDays(
  sql: postgres.Sql,
  scope: SeriesWindow,
  moments: number,
): Promise<Day[]> {
  const { series, expected } = scope;
  const apartMs = DAY_MS / moments;
  const rows = await runSql<DayRow>(sql, 'read/sampled_days.sql', {
    ...toValues(scope),
    moments,
    apart: spanForSql(apartMs),
    step: spanForSql(maxStepMs(series.interval)),
  });
  return toDays(rows, scope.window, (day) => {
    const times = Array.from({ length: moments }, (_, number) => day.fromMs + number * apartMs);
    const isGap = (timeMs: number) => series.gaps.some((gap) => contains(gap, timeMs));
    return {
      wanted: times.filter((timeMs) => contains(expected, timeMs)).length,
      gap: times.filter(isGap).length,
    };
  });
}

/** A row for each day of candles of 3d, 1w and 1M; the first day of each has its prices. */
async function readLongCandles(sql: postgres.Sql, scope: SeriesWindow): Promise<DayRow[]> {
  const { interval, archived } = scope.series;
  const values = toValues(scope);
  values.from_time = new Date(floorToGrid(interval, scope.window.fromMs));
  const found: DayRow[] = [];
  const batches = streamSql<Record<string, string> & { open_time: Date }>(
    sql,
    'read/candles.sql',
    values,
  );
  for await (const rows of batches) {
    for (const { open_time, open_price, high_price, low_price, close_price } of rows) {
      const openMs = floorToGrid(interval, open_time.getTime());
      const isArchived = archived !== undefined && openMs < archived.toMs;
      const endMs = addSteps(interval, openMs, 1);
      const first = found.length;
      for (let dayMs = openMs; dayMs < endMs; dayMs += DAY_MS)
        found.push({ day: new Date(dayMs), found: 1, archived: isArchived ? 1 : 0 });
      Object.assign(found[first] as DayRow, {
        open: Number(open_price),
        high: Number(high_price),
        low: Number(low_price),
        close: Number(close_price),
      });
    }
  }
  return found;
}

/** Returns every day of the window, also those without a row. */
function toDays(
  rows: readonly DayRow[],
  window: TimeRange,
  expect: (day: TimeRange) => Pick<Day, 'wanted' | 'gap'>,
): Day[] {
  const byTime = new Map(rows.map((row) => [row.day.getTime(), row]));
  return Array.from({ length: countSlots('1d', window) }, (_, index) => {
    const fromMs = window.fromMs + index * DAY_MS;
    const row = byTime.get(fromMs);
    const { found = 0, archived = 0, open, high = 0, low = 0, close = 0 } = row ?? {};
    const prices: Day['prices'] = open === undefined ? undefined : [open, high, low, close];
    return { index, found, archived, ...expect({ fromMs, toMs: fromMs + DAY_MS }), prices };
  });
}

function toValues({ instrument, series, window }: SeriesWindow) {
  return {
    instrument_id: instrument.id,
    interval: series.interval,
    from_time: new Date(window.fromMs),
    to_time: new Date(window.toMs),
  };
}

function contains({ fromMs, toMs }: TimeRange, timeMs: number): boolean {
  return fromMs <= timeMs && timeMs < toMs;
}
