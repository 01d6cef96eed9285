import { clipRanges, floorToGrid, rangeValues, type TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import {
  CANDLE_DEFECTS,
  type Check,
  type Finding,
  type FoundRow,
  findingsFromSql,
  MAX_ROWS,
  type SeriesReport,
} from './findings.ts';

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
  const { listedAtMs } = series.instrument;
  const rows = await runSql<FoundRow>(sql, 'verify/rollup.sql', {
    ...rangeValues(series, range),
    shown: MAX_ROWS,
    listed_time: listedAtMs === undefined ? '' : new Date(listedAtMs).toISOString(),
  });
  const defects: ReadonlySet<Check> = new Set(CANDLE_DEFECTS);
  const reportedMs = new Set(
    [longer, minutes]
      .flatMap((report) => report.findings)
      .filter((finding) => defects.has(finding.check) && !finding.isPublished)
      .flatMap((finding) => finding.rows)
      .map((row) => floorToGrid(series.interval, row.fromMs)),
  );
  const isReported = (row: FoundRow) => reportedMs.has(row.open_time.getTime());
  // Rows beyond the first ones are only counted: any that were reported count twice.
  const skipped = rows.filter(isReported);
  return findingsFromSql(
    series,
    'rollup',
    rows
      .filter((row) => !isReported(row))
      .map((row) => ({
        ...row,
        found: row.found - skipped.filter((each) => each.is_published === row.is_published).length,
      })),
  );
}
