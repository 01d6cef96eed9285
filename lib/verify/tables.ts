import { compareShapes } from '../archive/mod.ts';
import {
  INTERVALS,
  type Instrument,
  rangeValues,
  type Series,
  type TimeRange,
} from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import { findTable } from '../store/mod.ts';
import { TIERS, type TierTable } from './days.ts';
import { type Finding, findingsFrom, findingsFromSql, MAX_ROWS } from './findings.ts';

/** Checks that the instrument's tables are partitions of klines and klines_archive, and have the same columns. */
export async function checkTables(sql: Sql, instrument: Instrument): Promise<Finding[]> {
  const tables = [];
  for (const tier of TIERS) tables.push(await findTable(sql, instrument, tier));
  const detached = tables.flatMap((table) =>
    table.state === 'taken' ? [table.problem.message] : [],
  );
  // A detached table is compared as well: its columns have to match before it can be attached again.
  const areComparable = tables.every(
    (table) => table.state !== 'absent' && (table.state !== 'taken' || table.hasShape),
  );
  const differences = areComparable ? await compareShapes(sql, instrument) : [];
  const about = { instrument, interval: '-' } as const;
  const toRow = (detail: string) => ({ fromMs: 0, detail });
  return [
    ...findingsFrom(about, 'not-attached', detached.map(toRow)),
    ...findingsFrom(about, 'archive-shape', differences.map(toRow)),
  ];
}

/** Finds candles with an interval that Binance does not have: no reader would return them. */
export async function checkIntervals(sql: Sql, instrument: Instrument): Promise<Finding[]> {
  const unknown = await runSql<{ interval: string; tier: string; first_time: Date }>(
    sql,
    'verify/unknown_intervals.sql',
    { instrument_id: instrument.id, intervals: INTERVALS.join(',') },
  );
  const rows = unknown.map((row) => ({
    fromMs: row.first_time.getTime(),
    detail: `interval ${JSON.stringify(row.interval)} in ${row.tier}`,
  }));
  return findingsFrom({ instrument, interval: '-' }, 'unknown-interval', rows);
}

/** Finds candles on the wrong side of the boundary between the tiers. */
export async function checkTierBoundary(
  sql: Sql,
  series: Series,
  bounds: TimeRange,
): Promise<Finding[]> {
  const rows = await runSql<{ tier: TierTable; open_time: Date; found: number }>(
    sql,
    'verify/tier_boundary.sql',
    { ...rangeValues(series, bounds), shown: MAX_ROWS },
  );
  const details = {
    klines: 'in klines, but newer candles are archived',
    klines_archive: 'archived, but older candles are in klines',
  };
  return findingsFromSql(
    series,
    'tier-boundary',
    rows.map((row) => ({ ...row, detail: details[row.tier] })),
  );
}
