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
import type { TierTable } from './days.ts';
import { type Finding, findingOf, MAX_ROWS } from './findings.ts';

/** Names of the instrument's tables that stand for anything but its partitions: no reader sees candles there. */
export async function checkAttached(sql: Sql, instrument: Instrument): Promise<Finding[]> {
  const rows: { fromMs: number; detail: string }[] = [];
  for (const tier of ['klines', 'klines_archive'] as const) {
    const table = await findTable(sql, instrument, tier);
    if (table.state === 'taken') rows.push({ fromMs: 0, detail: table.problem.message });
  }
  if (rows.length === 0) return [];
  return [findingOf({ instrument, interval: '-' }, 'not-attached', rows.length, rows)];
}

/** Whether the instrument's archive table, if there is one, has the shape of its candle table. */
export async function checkArchiveShape(sql: Sql, instrument: Instrument): Promise<Finding[]> {
  for (const tier of ['klines', 'klines_archive'] as const) {
    const table = await findTable(sql, instrument, tier);
    // One that was detached is compared as well: it has to fit before it is attached again.
    if (table.state === 'absent' || (table.state === 'taken' && !table.hasShape)) return [];
  }
  const differences = await compareShapes(sql, instrument);
  if (differences.length === 0) return [];
  const rows = differences.map((detail) => ({ fromMs: 0, detail }));
  return [findingOf({ instrument, interval: '-' }, 'archive-shape', rows.length, rows)];
}

/** Rows under an interval that Binance does not have: no reader would ever find them. */
export async function checkIntervals(sql: Sql, instrument: Instrument): Promise<Finding[]> {
  const rows = await runSql<{ interval: string; tier: string; first_time: Date }>(
    sql,
    'verify/unknown_intervals.sql',
    { instrument_id: instrument.id, intervals: INTERVALS.join(',') },
  );
  if (rows.length === 0) return [];
  return [
    findingOf(
      { instrument, interval: '-' },
      'unknown-interval',
      rows.length,
      rows.map((row) => ({
        fromMs: row.first_time.getTime(),
        detail: `interval ${JSON.stringify(row.interval)} in ${row.tier}`,
      })),
    ),
  ];
}

/** Candles of a series that lie on the wrong side of the boundary between the tiers. */
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
  const [first] = rows;
  if (!first) return [];
  return [
    findingOf(
      series,
      'tier-boundary',
      first.found,
      rows.map((row) => ({
        fromMs: row.open_time.getTime(),
        detail:
          row.tier === 'klines'
            ? 'in klines, the archive has newer ones'
            : 'archived, klines has older ones',
      })),
    ),
  ];
}
