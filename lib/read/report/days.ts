import type postgres from 'postgres';
import { DAY_MS, spanForSql } from '../../base/mod.ts';
import {
  addSteps,
  clipRanges,
  countAllSlots,
  countSlots,
  floorToGrid,
  type Instrument,
  type Interval,
  maxStepMs,
  type TimeRange,
} from '../../market/mod.ts';
import { runSql, streamSql } from '../../postgres/mod.ts';
import type { SeriesStatus } from '../status.ts';

/** One UTC day of one series. */
export interface Day {
  /** Days since the window began. */
  index: number;
  /** Candles that are stored, and how many of them are archived. */
  found: number;
  archived: number;
  /** Candles there would be, from the first stored one on. */
  wanted: number;
  /** How many the exchange is known not to have. */
  gap: number;
  /** Undefined where the day was not read, or holds nothing. */
  prices: [open: number, high: number, low: number, close: number] | undefined;
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

/** Candles that `readDays` reads of a series. */
export function rowsToRead({ interval, firstMs, lastMs }: SeriesStatus, window: TimeRange): number {
  return countAllSlots(interval, clipRanges([{ fromMs: firstMs, toMs: lastMs + 1 }], window));
}

/**
 * The days of a series, every candle counted.
 * @param expected where candles ought to be
 */
export async function readDays(
  sql: postgres.Sql,
  instrument: Instrument,
  series: SeriesStatus,
  window: TimeRange,
  expected: TimeRange,
): Promise<Day[]> {
  const values = {
    instrument_id: instrument.id,
    interval: series.interval,
    from_time: new Date(window.fromMs),
    to_time: new Date(window.toMs),
  };
  if (maxStepMs(series.interval) > DAY_MS)
    return await readLongCandles(sql, values, series, window, expected);
  const rows = await runSql<DayRow>(sql, 'read/report_days.sql', values);
  return fillIn(rows, window, (day) => ({
    wanted: countAllSlots(series.interval, clipRanges([day], expected)),
    gap: countAllSlots(series.interval, clipRanges(series.gaps, day)),
  }));
}

/** The days of a series, each looked at in `moments` places only. No prices. */
export async function sampleDays(
  sql: postgres.Sql,
  instrument: Instrument,
  series: SeriesStatus,
  window: TimeRange,
  expected: TimeRange,
  moments: number,
): Promise<Day[]> {
  const apartMs = DAY_MS / moments;
  const rows = await runSql<DayRow>(sql, 'read/sampled_days.sql', {
    instrument_id: instrument.id,
    interval: series.interval,
    from_time: new Date(window.fromMs),
    to_time: new Date(window.toMs),
    moments,
    apart: spanForSql(apartMs),
    step: spanForSql(maxStepMs(series.interval)),
  });
  return fillIn(rows, window, (day) => {
    const times = Array.from({ length: moments }, (_, number) => day.fromMs + number * apartMs);
    const isGap = (timeMs: number) =>
      series.gaps.some((gap) => gap.fromMs <= timeMs && timeMs < gap.toMs);
    return {
      wanted: times.filter((timeMs) => expected.fromMs <= timeMs && timeMs < expected.toMs).length,
      gap: times.filter(isGap).length,
    };
  });
}

/** Candles of 3d, 1w and 1M stand for all their days. */
async function readLongCandles(
  sql: postgres.Sql,
  values: { instrument_id: number; interval: Interval; from_time: Date; to_time: Date },
  series: SeriesStatus,
  window: TimeRange,
  expected: TimeRange,
): Promise<Day[]> {
  const { interval } = series;
  const found = new Map<number, DayRow>();
  const from_time = new Date(floorToGrid(interval, window.fromMs));
  const batches = streamSql<Record<string, string> & { open_time: Date }>(sql, 'read/candles.sql', {
    ...values,
    from_time,
  });
  for await (const rows of batches) {
    for (const row of rows) {
      const openMs = floorToGrid(interval, row.open_time.getTime());
      const archived = series.archived && openMs < series.archived.toMs ? 1 : 0;
      const endMs = addSteps(interval, openMs, 1);
      for (let dayMs = openMs; dayMs < endMs; dayMs += DAY_MS) {
        const isFirst = dayMs === openMs;
        const prices = isFirst
          ? {
              open: Number(row.open_price),
              high: Number(row.high_price),
              low: Number(row.low_price),
              close: Number(row.close_price),
            }
          : {};
        found.set(dayMs, { day: new Date(dayMs), found: 1, archived, ...prices });
      }
    }
  }
  return fillIn([...found.values()], window, (day) => ({
    wanted: expected.fromMs <= day.fromMs && day.fromMs < expected.toMs ? 1 : 0,
    gap: series.gaps.some((gap) => gap.fromMs < day.toMs && gap.toMs > day.fromMs) ? 1 : 0,
  }));
}

/** A day for each of the window, also where nothing was found. */
function fillIn(
  rows: readonly DayRow[],
  window: TimeRange,
  expect: (day: TimeRange) => Pick<Day, 'wanted' | 'gap'>,
): Day[] {
  const byTime = new Map(rows.map((row) => [row.day.getTime(), row]));
  return Array.from({ length: countSlots('1d', window) }, (_, index) => {
    const fromMs = window.fromMs + index * DAY_MS;
    const row = byTime.get(fromMs);
    return {
      index,
      found: row?.found ?? 0,
      archived: row?.archived ?? 0,
      ...expect({ fromMs, toMs: fromMs + DAY_MS }),
      prices:
        row?.open === undefined
          ? undefined
          : [row.open, row.high as number, row.low as number, row.close as number],
    };
  });
}
