import { readColumns } from '../archive/mod.ts';
import { rangeValues, type Series, type TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import { type Finding, findingsFrom } from './findings.ts';

/** A span of the archive whose candles differ from what was moved there. */
export interface WrongSpan extends TimeRange {
  wantedRows: number;
  foundRows: number;
}

/**
 * Hashes archived candles again and compares them with archive_batches, minus what was restored
 * since, or with the checkpoint that a later repair recorded. Reads every archived candle of the
 * spans that overlap `range`.
 */
export async function findWrongSpans(
  sql: Sql,
  series: Series,
  range: TimeRange,
): Promise<WrongSpan[]> {
  const { row_hash } = await readColumns(sql, 'klines_archive');
  return await runSql<WrongSpan>(sql, 'verify/batches.sql', {
    ...rangeValues(series, range),
    row_hash,
  });
}

/** The check behind --deep. Reads every archived candle. */
export async function checkBatches(
  sql: Sql,
  series: Series,
  bounds: TimeRange,
): Promise<Finding[]> {
  const wrong = await findWrongSpans(sql, series, bounds);
  const rows = wrong.map(({ fromMs, toMs, wantedRows, foundRows }) => ({
    fromMs,
    toMs,
    detail:
      wantedRows === foundRows
        ? `differs from the ${wantedRows} candles moved there`
        : `${foundRows} candles, ${wantedRows} were moved there`,
  }));
  return findingsFrom(series, 'batch-hash', rows);
}

/** Records what a span of the archive contains now. From here on --deep compares it with this. */
export async function recordCheckpoint(sql: Sql, series: Series, span: TimeRange): Promise<void> {
  const { row_hash } = await readColumns(sql, 'klines_archive');
  await runSql(sql, 'verify/repair/record_checkpoint.sql', {
    ...rangeValues(series, span),
    row_hash,
  });
}
