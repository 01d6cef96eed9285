import { spanForSql } from '../base/mod.ts';
import {
  addSteps,
  ceilToGrid,
  INTERVALS,
  type Instrument,
  type Interval,
  maxStepMs,
  missingBetween,
  rangesToJson,
  rangeValues,
  type Series,
  seriesValues,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import { confirmedGaps } from './confirmed-gaps.ts';

/** What is stored of one series, hot and archived together. Open times, Unix ms. */
export interface StoredSeries {
  interval: Interval;
  firstMs: number;
  lastMs: number;
  /** The same as `lastMs` when there is only one candle. */
  secondLastMs: number;
  /** Undefined: all of it is archived. */
  firstHotMs: number | undefined;
  /** When it was last known to be up to date, by the database's clock, Unix ms. */
  checkedAtMs: number | undefined;
  /** Open time up to which update has left nothing missing, Unix ms. */
  completeUntilMs: number | undefined;
  hasOpenGaps: boolean;
}

interface StoredSeriesRow {
  interval: Interval;
  first_time: Date;
  last_time: Date;
  second_last_time: Date;
  first_hot_time: Date | null;
  checked_at: Date | null;
  complete_until: Date | null;
  has_open_gaps: boolean;
}

/** The series of an instrument that hold at least one candle, shortest interval first. */
export async function storedSeries(
  sql: Sql,
  instrument: Instrument,
  intervals: readonly Interval[] = INTERVALS,
): Promise<StoredSeries[]> {
  const rows = await runSql<StoredSeriesRow>(sql, 'store/series.sql', {
    instrument_id: instrument.id,
    intervals: intervals.join(','),
  });
  return rows.map((row) => ({
    interval: row.interval,
    firstMs: row.first_time.getTime(),
    lastMs: row.last_time.getTime(),
    secondLastMs: row.second_last_time.getTime(),
    firstHotMs: row.first_hot_time?.getTime(),
    checkedAtMs: row.checked_at?.getTime(),
    completeUntilMs: row.complete_until?.getTime(),
    hasOpenGaps: row.has_open_gaps,
  }));
}

/** The open times of the candles in a range, of both tiers or of the archive alone, Unix ms. */
export async function openTimes(
  sql: Sql,
  { instrument, interval }: Series,
  range: TimeRange,
  from: 'all_klines' | 'klines_archive',
): Promise<number[]> {
  const rows = await sql`
    select open_time
    from ${sql(from)}
    where instrument_id = ${instrument.id}
      and interval = ${interval}
      and open_time >= ${new Date(range.fromMs)}
      and open_time < ${new Date(range.toMs)}`;
  return rows.map((row) => row.open_time.getTime());
}

/**
 * Records that a series is up to date.
 * @param agoMs how long ago the exchange was asked
 * @param completeUntilMs open time up to which nothing is missing that the exchange has, Unix ms
 */
export async function recordCheck(
  sql: Sql,
  series: Series,
  agoMs: number,
  completeUntilMs: number,
): Promise<void> {
  await runSql(sql, 'store/record_check.sql', {
    ...seriesValues(series),
    ago_ms: agoMs,
    complete_until: new Date(completeUntilMs),
  });
}

/**
 * What is missing in `range` and the exchange may have: `missingRanges` without confirmed gaps.
 */
export async function fetchableRanges(
  sql: Sql,
  series: Series,
  range: TimeRange,
): Promise<TimeRange[]> {
  const missing = await missingRanges(sql, series, range);
  return missing.length === 0 ? [] : subtractRanges(missing, await confirmedGaps(sql, series));
}

/**
 * The open times of the grid in `range` for which no tier holds a candle, as ranges, oldest
 * first. A candle off the grid covers the slot that it opens in.
 */
export async function missingRanges(
  sql: Sql,
  series: Series,
  range: TimeRange,
): Promise<TimeRange[]> {
  const { interval } = series;
  const fromMs = ceilToGrid(interval, range.fromMs);
  const toMs = ceilToGrid(interval, range.toMs);
  if (fromMs >= toMs) return [];
  const pairs = await runSql<{ open_time: Date; next_time: Date }>(sql, 'store/gaps.sql', {
    ...rangeValues(series, { fromMs, toMs }),
    before_time: new Date(addSteps(interval, fromMs, -1)),
    max_step: spanForSql(maxStepMs(interval)),
  });
  return missingBetween(
    interval,
    pairs.map((pair) => ({
      beforeMs: pair.open_time.getTime(),
      afterMs: pair.next_time.getTime(),
    })),
  );
}

/**
 * The pairs of stored candles between which spans without candles lie, oldest first. Spans before
 * the first candle and after the last are left out.
 */
export async function findNeighbours(
  sql: Sql,
  series: Series,
  spans: readonly TimeRange[],
): Promise<{ beforeMs: number; afterMs: number }[]> {
  if (spans.length === 0) return [];
  const rows = await runSql<{ before_time: Date; after_time: Date }>(sql, 'store/neighbours.sql', {
    ...seriesValues(series),
    spans: rangesToJson(spans),
  });
  return rows.map((row) => ({
    beforeMs: row.before_time.getTime(),
    afterMs: row.after_time.getTime(),
  }));
}
