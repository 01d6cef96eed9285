import { archiveTableOf, compareShapes } from './archive-tables.ts';
import type { Instrument } from './instruments.ts';
import { countSlots } from './intervals.ts';
import type { Series } from './klines.ts';
import { missingRanges, type StoredSeries } from './series.ts';
import { runSql, type Sql } from './sql-file.ts';
import { formatTime } from './time.ts';

export type Check =
  | 'missing'
  | 'in-both-tiers'
  | 'archive-shape'
  | 'not-closed'
  | 'impossible-ohlc';

/** One kind of defect in one series (of a table, for archive-shape). */
export interface Finding {
  symbol: string;
  interval: string;
  check: Check;
  /** Candles concerned. */
  count: number;
  /** The first few, in words. */
  examples: string[];
}

const SHOWN = 5;

const ROW_CHECKS = [
  ['in-both-tiers', 'integrity/in_both_tiers.sql'],
  ['not-closed', 'integrity/not_closed.sql'],
  ['impossible-ohlc', 'integrity/impossible_ohlc.sql'],
] as const satisfies [Check, string][];

/** Everything that is wrong with one series. No findings: it is complete, single and sane. */
export async function checkSeries(
  sql: Sql,
  series: Series,
  stored: StoredSeries,
): Promise<Finding[]> {
  const { instrument, interval } = series;
  const name = { symbol: instrument.symbol, interval };
  const findings: Finding[] = [];

  const missing = await missingRanges(sql, series, { fromMs: stored.firstMs, toMs: stored.lastMs });
  if (missing.length > 0) {
    findings.push({
      ...name,
      check: 'missing',
      count: missing.reduce((sum, range) => sum + countSlots(interval, range), 0),
      examples: missing
        .slice(0, SHOWN)
        .map(
          (range) =>
            `${countSlots(interval, range)} from ${formatTime(range.fromMs)} to ${formatTime(range.toMs)}`,
        ),
    });
  }
  for (const [check, file] of ROW_CHECKS) {
    const rows = await runSql<{ open_time: Date; detail: string; found: number }>(sql, file, {
      instrument_id: instrument.id,
      interval,
      shown: SHOWN,
    });
    const [first] = rows;
    if (!first) continue;
    const examples = rows.map((row) => `${formatTime(row.open_time.getTime())} ${row.detail}`);
    findings.push({ ...name, check, count: first.found, examples });
  }
  return findings;
}

/** Whether the instrument's archive table, if there is one, has the shape of its candle table. */
export async function checkArchiveShape(sql: Sql, instrument: Instrument): Promise<Finding[]> {
  const [found] = await sql`
    select
      to_regclass(format('%I', ${instrument.tableName}::text)) is not null
      and to_regclass(format('%I', ${archiveTableOf(instrument)}::text)) is not null as both`;
  if (!found?.both) return [];
  const differences = await compareShapes(sql, instrument);
  if (differences.length === 0) return [];
  return [
    {
      symbol: instrument.symbol,
      interval: '-',
      check: 'archive-shape',
      count: differences.length,
      examples: differences,
    },
  ];
}
