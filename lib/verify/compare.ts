import { type Download, stageFromRest } from '../download/mod.ts';
import {
  addSteps,
  clipRanges,
  floorToGrid,
  rangeValues,
  type Series,
  type TimeRange,
} from '../market/mod.ts';
import { runSql } from '../postgres/mod.ts';
import type { StoredSeries } from '../store/mod.ts';
import type { Finding } from './findings.ts';
import { findCandles } from './found-candles.ts';

/**
 * The slots that contain the open times, as ranges, oldest first.
 * @param apart slots that are at most this many slots apart become one range
 */
export function slotRanges(
  { interval }: Series,
  timesMs: readonly number[],
  apart = 0,
): TimeRange[] {
  const ranges: TimeRange[] = [];
  for (const timeMs of [...timesMs].sort((a, b) => a - b)) {
    const fromMs = floorToGrid(interval, timeMs);
    const toMs = addSteps(interval, fromMs, 1);
    const last = ranges.at(-1);
    if (last && fromMs <= addSteps(interval, last.toMs, apart)) {
      last.toMs = Math.max(last.toMs, toMs);
    } else {
      ranges.push({ fromMs, toMs });
    }
  }
  return ranges;
}

/**
 * Requests random stored candles of a series and compares each field.
 * @param download its session needs no lock: only the staging table is written
 * @param picks at most this many candles
 */
export async function compareSeries(
  download: Download,
  stored: StoredSeries,
  bounds: TimeRange,
  picks: number,
): Promise<Finding[]> {
  const { session, series } = download;
  const [range] = clipRanges([{ fromMs: stored.firstMs, toMs: stored.lastMs + 1 }], bounds);
  if (!range) return [];
  const picked = await runSql<{ open_time: Date }>(session, 'verify/picks.sql', {
    ...rangeValues(series, range),
    picks,
  });
  if (picked.length === 0) return [];
  const timesMs = picked.map((row) => row.open_time.getTime());
  await stageFromRest(download, slotRanges(series, timesMs));
  return await findCandles(session, series, 'verify/differences.sql', {
    picks: timesMs.join(','),
  });
}
