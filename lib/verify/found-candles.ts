import { type Series, seriesValues } from '../market/mod.ts';
import { renderSql, runSql, type Sql, SqlText, type SqlValues } from '../postgres/mod.ts';
import { type Check, type Finding, type FindingRow, findingsFrom, MAX_ROWS } from './findings.ts';

/** A candle that fails a check, and how many do; only the first ones are returned. */
interface FoundCandle extends FindingRow {
  check: Check;
  isPublished: boolean;
  count: number;
}

/**
 * Runs a check that is written in SQL.
 * @param file path below `sql/` of a query as sql/verify/first_found.sql wants it
 * @param values its variables, without those of the series
 * @returns for each kind of defect at most two findings: one for wrong candles, one for those that
 * Binance published like this
 */
export async function findCandles(
  sql: Sql,
  series: Series,
  file: string,
  values: SqlValues,
): Promise<Finding[]> {
  const own = seriesValues(series);
  const found = await runSql<FoundCandle>(sql, 'verify/first_found.sql', {
    ...own,
    found: new SqlText(renderSql(file, { ...own, ...values })),
    shown: MAX_ROWS,
  });
  const findings: Finding[] = [];
  for (const { check, isPublished, count, ...row } of found) {
    const last = findings.at(-1);
    if (last?.check === check && last.isPublished === isPublished) last.rows.push(row);
    else findings.push(...findingsFrom(series, check, [row], { count, isPublished }));
  }
  return findings;
}
