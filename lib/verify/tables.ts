import { compareShapes } from '../archive/mod.ts';
import { INTERVALS, type Instrument } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import { findTable } from '../store/mod.ts';
import { type Finding, findingsFrom } from './findings.ts';

/** Checks that the instrument's tables are partitions of klines and klines_archive, and have the same columns. */
export async function checkTables(sql: Sql, instrument: Instrument): Promise<Finding[]> {
  const tables = [];
  for (const tier of ['klines', 'klines_archive'] as const)
    tables.push(await findTable(sql, instrument, tier));
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
