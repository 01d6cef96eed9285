import { clipRanges, floorToGrid, rangeValues, type TimeRange } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import { CANDLE_DEFECTS, type Check, type Finding, type SeriesReport } from './findings.ts';
import { findCandles } from './found-candles.ts';

const MINUTE_MS = 60_000;

/**
 * Compares each candle of a series with the sum of its 1m candles. Skips candles that the checks
 * before have reported, or whose minutes they have reported.
 * @param minutes the report of the instrument's 1m series, if it has one
 */
export async function checkRollup(
  sql: Sql,
  longer: SeriesReport,
  minutes: SeriesReport | undefined,
  bounds: TimeRange,
): Promise<Finding[]> {
  const { series, stored } = longer;
  if (longer === minutes || !stored || !minutes?.stored) return [];
  const shared = {
    fromMs: Math.max(stored.firstMs, floorToGrid(series.interval, minutes.stored.firstMs)),
    toMs: minutes.stored.lastMs + MINUTE_MS,
  };
  const [range] = clipRanges([shared], bounds);
  if (!range) return [];
  const defects: ReadonlySet<Check> = new Set(CANDLE_DEFECTS);
  const reportedMs = [longer, minutes]
    .flatMap((report) => report.findings)
    .filter((finding) => defects.has(finding.check) && !finding.isPublished)
    .flatMap((finding) => finding.rows)
    .map((row) => floorToGrid(series.interval, row.fromMs));
  const { listedAtMs } = series.instrument;
  return await findCandles(sql, series, 'verify/rollup.sql', {
    ...rangeValues(series, range),
    reported: [...new Set(reportedMs)].join(','),
    listed_time: listedAtMs === undefined ? '' : new Date(listedAtMs).toISOString(),
  });
}
