import { readColumns } from '../archive/mod.ts';
import type { Series, TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import { type Finding, findingOf } from './findings.ts';

/** A stretch of the archive that does not hold what was moved there. */
export interface WrongStretch extends TimeRange {
  wantedRows: number;
  foundRows: number;
}

/**
 * Hashes the archived candles of each batch again and holds them against archive_batches, less
 * what was restored since, or against the seal of a later repair.
 */
export async function wrongStretches(
  sql: Sql,
  { instrument, interval }: Series,
  range: TimeRange,
): Promise<WrongStretch[]> {
  const { row_hash } = await readColumns(sql, 'klines_archive');
  const rows = await runSql<{
    from_time: Date;
    to_time: Date;
    wanted_rows: number;
    found_rows: number;
  }>(sql, 'verify/batches.sql', {
    instrument_id: instrument.id,
    interval,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
    row_hash,
  });
  return rows.map((row) => ({
    fromMs: row.from_time.getTime(),
    toMs: row.to_time.getTime(),
    wantedRows: row.wanted_rows,
    foundRows: row.found_rows,
  }));
}

/** The check behind --deep. Reads every archived candle. */
export async function checkBatches(
  sql: Sql,
  series: Series,
  bounds: TimeRange,
): Promise<Finding[]> {
  const wrong = await wrongStretches(sql, series, bounds);
  if (wrong.length === 0) return [];
  return [
    findingOf(
      series,
      'batch-hash',
      wrong.length,
      wrong.map(({ fromMs, toMs, wantedRows, foundRows }) => ({
        fromMs,
        toMs,
        detail:
          wantedRows === foundRows
            ? `other content than the ${wantedRows} candles moved there`
            : `${foundRows} candles, ${wantedRows} were moved there`,
      })),
    ),
  ];
}

/** Writes down what a stretch holds now: from here on --deep holds it against this. */
export async function sealStretch(
  sql: Sql,
  { instrument, interval }: Series,
  range: TimeRange,
): Promise<void> {
  const { row_hash } = await readColumns(sql, 'klines_archive');
  await runSql(sql, 'verify/repair/record_checkpoint.sql', {
    instrument_id: instrument.id,
    interval,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
    row_hash,
  });
}
