import { clipRanges, floorToGrid, rangeValues, type TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import {
  type Check,
  type Finding,
  type FindingRow,
  findingOf,
  MAX_ROWS,
  type SeriesReport,
} from './findings.ts';

/**
 * Holds a series against what its 1m candles add up to. A candle that is odd, or that has an odd
 * minute, was reported for that.
 */
export async function checkRollup(
  sql: Sql,
  longer: SeriesReport,
  minutes: SeriesReport | undefined,
  bounds: TimeRange,
): Promise<Finding[]> {
  const { series, stored } = longer;
  if (minutes?.series.interval !== '1m' || longer === minutes) return [];
  if (!stored || !minutes.stored) return [];
  const shared = {
    fromMs: Math.max(stored.firstMs, floorToGrid(series.interval, minutes.stored.firstMs)),
    toMs: minutes.stored.lastMs + 60_000,
  };
  const [range] = clipRanges([shared], bounds);
  if (!range) return [];
  const { listedAtMs } = series.instrument;
  const rows = await runSql<RollupRow>(sql, 'verify/rollup.sql', {
    ...rangeValues(series, range),
    shown: MAX_ROWS,
    listed_time: listedAtMs === undefined ? '' : new Date(listedAtMs).toISOString(),
  });
  const told = new Set(
    [longer, minutes]
      .flatMap((report) => report.findings)
      .filter((finding) => TELL_ALONE.has(finding.check) && !finding.isPublished)
      .flatMap((finding) => finding.rows)
      .map((row) => floorToGrid(series.interval, row.fromMs)),
  );
  return [false, true].flatMap((isPublished) => {
    const same = rows.filter(
      (row) => row.is_published === isPublished && !told.has(row.open_time.getTime()),
    );
    if (same.length === 0) return [];
    // What was told already is among the first ones; the rest is only counted.
    const skipped = rows.filter((row) => row.is_published === isPublished).length - same.length;
    return [
      findingOf(series, 'rollup', same[0]!.found - skipped, same.map(toFindingRow), {
        isPublished,
      }),
    ];
  });
}

/** Checks of which one defect would show as a wrong roll-up once more. */
const TELL_ALONE: ReadonlySet<Check> = new Set<Check>([
  ...(['off-grid', 'doubled-slot', 'not-a-number', 'price-not-positive'] as const),
  ...(['impossible-ohlc', 'negative-volume', 'taker-above-total', 'no-volume'] as const),
  'in-both-tiers',
]);

interface RollupRow {
  open_time: Date;
  detail: string;
  row_hash: string;
  is_published: boolean;
  found: number;
}

function toFindingRow(row: { open_time: Date; detail: string; row_hash: string }): FindingRow {
  return { fromMs: row.open_time.getTime(), detail: row.detail, rowHash: row.row_hash };
}
