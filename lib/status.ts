import type postgres from 'postgres';
import { archiveTableOf } from './archive-tables.ts';
import type { Instrument } from './instruments.ts';
import {
  addSteps,
  clipRanges,
  countAllSlots,
  countSlots,
  floorToGrid,
  INTERVALS,
  type Interval,
  type TimeRange,
} from './intervals.ts';
import { renderSql, runSql } from './sql-file.ts';

/** What is stored of one series. Times are open times, Unix ms. */
export interface SeriesStatus {
  interval: Interval;
  firstMs: number;
  lastMs: number;
  /** For how long the next candle has been closed; 0 when up to date. */
  behindMs: number;
  /** Undefined: that tier holds none. */
  hot: TimeRange | undefined;
  archived: TimeRange | undefined;
  /** The slots between first and last without those known to be empty: nothing is counted. */
  rows: { hot: number; archive: number };
  /** What the exchange was asked for and does not have. */
  gaps: TimeRange[];
  /** Candles that the gaps would hold. */
  gapCandles: number;
}

export interface InstrumentStatus {
  instrument: Instrument;
  /** Tables and indexes, as of their last VACUUM or ANALYZE. */
  bytes: { hot: number; archive: number };
  series: SeriesStatus[];
}

interface EndsRow {
  instrument_id: number;
  interval: Interval;
  first_hot_time: Date | null;
  last_hot_time: Date | null;
  first_archived_time: Date | null;
  last_archived_time: Date | null;
}

/** So many instruments share a statement: the planner's work is most of it. */
const INSTRUMENTS_AT_ONCE = 25;

/**
 * What is stored of each instrument, from the ends of indexes and the catalogue: a second for a
 * thousand series, however long they are.
 * @param intervals only these
 */
export async function storeStatus(
  sql: postgres.Sql,
  instruments: readonly Instrument[],
  nowMs: number,
  intervals: readonly Interval[] = INTERVALS,
): Promise<InstrumentStatus[]> {
  const [tables, gaps] = await Promise.all([
    runSql<{ table_name: string; bytes: number }>(sql, 'status/tables.sql'),
    allGaps(sql),
  ]);
  const bytes = new Map(tables.map((table) => [table.table_name, table.bytes]));
  const holding = instruments.filter((instrument) => bytes.has(instrument.tableName));
  const series = new Map<number, EndsRow[]>();
  for (const row of await ends(sql, holding, bytes, intervals)) {
    series.set(row.instrument_id, [...(series.get(row.instrument_id) ?? []), row]);
  }
  return holding.map((instrument) => ({
    instrument,
    bytes: {
      hot: bytes.get(instrument.tableName) ?? 0,
      archive: bytes.get(archiveTableOf(instrument)) ?? 0,
    },
    series: (series.get(instrument.id) ?? []).map((row) =>
      describe(row, gaps.get(`${instrument.id} ${row.interval}`) ?? [], nowMs),
    ),
  }));
}

/** First and last candle of each series, in each tier. */
async function ends(
  sql: postgres.Sql,
  instruments: readonly Instrument[],
  tables: ReadonlyMap<string, unknown>,
  intervals: readonly Interval[],
): Promise<EndsRow[]> {
  const statements: string[] = [];
  for (let at = 0; at < instruments.length; at += INSTRUMENTS_AT_ONCE) {
    const selects = instruments.slice(at, at + INSTRUMENTS_AT_ONCE).map((instrument) =>
      renderSql('status/series.sql', {
        instrument_id: instrument.id,
        hot: instrument.tableName,
        // The parent holds nothing of an instrument that has no partition there.
        archive: tables.has(archiveTableOf(instrument))
          ? archiveTableOf(instrument)
          : 'klines_archive',
        intervals: intervals.join(','),
      }),
    );
    statements.push(selects.join('\nunion all\n'));
  }
  const results = await Promise.all(statements.map((text) => sql.unsafe<EndsRow[]>(text)));
  return results.flatMap((rows) => [...rows]);
}

async function allGaps(sql: postgres.Sql): Promise<Map<string, TimeRange[]>> {
  const rows = await sql`
    select instrument_id, interval, from_time, to_time from confirmed_gaps
    order by instrument_id, interval, from_time`;
  const gaps = new Map<string, TimeRange[]>();
  for (const row of rows) {
    const key = `${row.instrument_id} ${row.interval}`;
    const range = { fromMs: row.from_time.getTime(), toMs: row.to_time.getTime() };
    gaps.set(key, [...(gaps.get(key) ?? []), range]);
  }
  return gaps;
}

function describe(row: EndsRow, gaps: TimeRange[], nowMs: number): SeriesStatus {
  const { interval } = row;
  const hot = tierOf(interval, row.first_hot_time, row.last_hot_time);
  const archived = tierOf(interval, row.first_archived_time, row.last_archived_time);
  const tiers = [archived, hot].filter((tier) => tier !== undefined);
  const lastMs = Math.max(
    row.last_hot_time?.getTime() ?? 0,
    row.last_archived_time?.getTime() ?? 0,
  );
  const nextClosedMs = addSteps(interval, floorToGrid(interval, lastMs), 2);
  const countRows = (tier: TimeRange | undefined) =>
    tier ? countSlots(interval, tier) - countAllSlots(interval, clipRanges(gaps, tier)) : 0;
  return {
    interval,
    firstMs: Math.min(...tiers.map((tier) => tier.fromMs)),
    lastMs,
    behindMs: Math.max(0, nowMs - nextClosedMs),
    hot,
    archived,
    rows: { hot: countRows(hot), archive: countRows(archived) },
    gaps,
    gapCandles: countAllSlots(interval, gaps),
  };
}

function tierOf(interval: Interval, first: Date | null, last: Date | null): TimeRange | undefined {
  if (!first || !last) return undefined;
  return {
    fromMs: floorToGrid(interval, first.getTime()),
    toMs: addSteps(interval, floorToGrid(interval, last.getTime()), 1),
  };
}
