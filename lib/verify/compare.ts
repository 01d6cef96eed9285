import { type Download, stageFromRest } from '../download/mod.ts';
import { clipRanges, rangeValues, slotRanges, type TimeRange } from '../market/mod.ts';
import { runSql } from '../postgres/mod.ts';
import type { StoredSeries } from '../store/mod.ts';
import type { Finding } from './findings.ts';
import { findCandles } from './found-candles.ts';

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
  await stageFromRest(download, slotRanges(series.interval, timesMs));
  return await findCandles(session, series, 'verify/differences.sql', {
    picks: timesMs.join(','),
  });
}
