import type postgres from 'postgres';
import {
  addSteps,
  clipRanges,
  countAllSlots,
  countSlots,
  floorToGrid,
  INTERVALS,
  type Instrument,
  type Interval,
  type TimeRange,
} from '../market/mod.ts';
import { renderSql } from '../postgres/mod.ts';
import { candlesFrom, type ReadAccess } from './access.ts';

/** What is stored of one series. Times are open times, Unix ms. Nothing is counted. */
export interface SeriesStatus {
  interval: Interval;
  firstMs: number;
  lastMs: number;
  /** For how long the next candle has been closed; 0 when up to date. */
  behindMs: number;
  /** Undefined: no candle in this tier. */
  hot: TimeRange | undefined;
  archived: TimeRange | undefined;
  /** Estimated: the slots between first and last, without confirmed gaps. */
  rows: { hot: number; archive: number };
  /** Confirmed: the exchange has no candles there. */
  gaps: TimeRange[];
  /** Number of slots in the gaps. */
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

/** Instruments per statement: planning takes most of the time. */
const INSTRUMENTS_AT_ONCE = 25;

/**
 * Reads what is stored of each instrument from the ends of indexes and from the catalogue: one second for
 * a thousand series of any length.
 * @param access from `readAccess`
 * @param intervals default: all
 */
export async function storeStatus(
  sql: postgres.Sql,
  access: ReadAccess,
  instruments: readonly Instrument[],
  nowMs: number,
  intervals: readonly Interval[] = INTERVALS,
): Promise<InstrumentStatus[]> {
  const { hot, archive } = access.tables;
  const stored = instruments.filter(({ id }) => hot.has(id));
  const [ends, gaps] = await Promise.all([
    seriesEnds(sql, stored, access, intervals),
    access.names.has('confirmed_gaps') ? allGaps(sql) : new Map<string, TimeRange[]>(),
  ]);
  return stored.map((instrument) => ({
    instrument,
    bytes: {
      hot: hot.get(instrument.id)?.bytes ?? 0,
      archive: archive.get(instrument.id)?.bytes ?? 0,
    },
    series: ends
      .filter((row) => row.instrument_id === instrument.id)
      .map((row) => toStatus(row, gaps.get(`${instrument.id} ${row.interval}`) ?? [], nowMs)),
  }));
}

/** First and last candle of each series, in each tier. */
async function seriesEnds(
  sql: postgres.Sql,
  instruments: readonly Instrument[],
  access: ReadAccess,
  intervals: readonly Interval[],
): Promise<EndsRow[]> {
  const selects = instruments.map((instrument) =>
    renderSql('read/series_ends.sql', {
      instrument_id: instrument.id,
      hot: candlesFrom('hot', instrument, access),
      archive: candlesFrom('archive', instrument, access),
      intervals: intervals.join(','),
    }),
  );
  const queries: Promise<EndsRow[]>[] = [];
  for (let at = 0; at < selects.length; at += INSTRUMENTS_AT_ONCE) {
    const text = selects.slice(at, at + INSTRUMENTS_AT_ONCE).join('\nunion all\n');
    queries.push(sql.unsafe<EndsRow[]>(text));
  }
  return (await Promise.all(queries)).flat();
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

function toStatus(row: EndsRow, gaps: TimeRange[], nowMs: number): SeriesStatus {
  const { interval } = row;
  const hot = toRange(interval, row.first_hot_time, row.last_hot_time);
  const archived = toRange(interval, row.first_archived_time, row.last_archived_time);
  const tiers = [archived, hot].filter((tier) => tier !== undefined);
  const lastMs = Math.max(Number(row.last_hot_time), Number(row.last_archived_time));
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

function toRange(interval: Interval, first: Date | null, last: Date | null): TimeRange | undefined {
  if (!first || !last) return undefined;
  return {
    fromMs: floorToGrid(interval, first.getTime()),
    toMs: addSteps(interval, floorToGrid(interval, last.getTime()), 1),
  };
}
