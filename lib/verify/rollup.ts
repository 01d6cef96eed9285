import {
  ceilToGrid,
  clipRanges,
  divides,
  floorToGrid,
  maxStepMs,
  rangeValues,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import {
  CANDLE_DEFECTS,
  type Check,
  type Finding,
  joinFindings,
  type SeriesReport,
} from './findings.ts';
import { findCandles } from './found-candles.ts';

/**
 * Compares each candle of a series with the sum of its parts: the candles of the longest shorter interval
 * that is stored for its time and divides its own. Skips candles that the checks before have reported, or
 * whose parts they have reported.
 * @param reports those of all series of the instrument, shortest first
 */
export async function checkRollup(
  sql: Sql,
  longer: SeriesReport,
  reports: readonly SeriesReport[],
  bounds: TimeRange,
): Promise<Finding[]> {
  const { series, stored } = longer;
  const { interval } = series;
  const findings: Finding[] = [];
  if (!stored) return findings;
  const shorter = reports.slice(0, reports.indexOf(longer)).reverse();
  let left: TimeRange[] = [{ fromMs: stored.firstMs, toMs: stored.lastMs + 1 }];
  for (const part of shorter) {
    if (!part.stored || !divides(part.series.interval, interval)) continue;
    const { firstMs, lastMs } = part.stored;
    const covered = {
      fromMs: floorToGrid(interval, firstMs),
      toMs: lastMs + maxStepMs(part.series.interval),
    };
    for (const range of clipRanges(left, covered)) {
      const [wanted] = clipRanges([{ ...range, toMs: toEnd(range.toMs, covered) }], bounds);
      if (wanted) findings.push(...(await compareWithParts(sql, longer, part, wanted)));
    }
    // A candle at either end may have been compared with only some of its parts.
    const { listedAtMs = 0 } = series.instrument;
    const isFromListing = firstMs <= listedAtMs;
    const compared = {
      fromMs: isFromListing ? covered.fromMs : ceilToGrid(interval, firstMs),
      toMs: floorToGrid(interval, covered.toMs),
    };
    left = subtractRanges(left, [compared]);
  }
  return joinFindings(findings);

  /** The last stored candle opens where `left` ends, but its parts reach further. */
  function toEnd(toMs: number, covered: TimeRange): number {
    return toMs > stored!.lastMs ? covered.toMs : toMs;
  }
}

async function compareWithParts(
  sql: Sql,
  longer: SeriesReport,
  part: SeriesReport,
  range: TimeRange,
): Promise<Finding[]> {
  const { series } = longer;
  const defects: ReadonlySet<Check> = new Set(CANDLE_DEFECTS);
  const reportedMs = [longer, part]
    .flatMap((report) => report.findings)
    .filter((finding) => defects.has(finding.check) && !finding.isPublished)
    .flatMap((finding) => finding.rows)
    .map((row) => floorToGrid(series.interval, row.fromMs));
  const { listedAtMs } = series.instrument;
  const { interval } = part.series;
  const findings = await findCandles(sql, series, 'verify/rollup.sql', {
    ...rangeValues(series, range),
    part: interval,
    part_seconds: maxStepMs(interval) / 1000,
    reported: [...new Set(reportedMs)].join(','),
    listed_time: listedAtMs === undefined ? '' : new Date(listedAtMs).toISOString(),
  });
  return findings.map(({ rows, ...finding }) => ({
    ...finding,
    rows: rows.map((row) => ({ ...row, part: interval })),
  }));
}
