import type postgres from 'postgres';
import { copyIn, type Session } from './db.ts';
import type { Instrument } from './instruments.ts';
import type { Interval, TimeRange } from './intervals.ts';
import {
  COPY_HEADER,
  COPY_TRAILER,
  type EncodedKlines,
  encodeKlines,
  type RejectedKline,
  STAGE_COPY,
} from './kline-codec.ts';
import { lockedTransaction } from './locks.ts';
import { runSql } from './sql-file.ts';

/** The candles of one instrument in one interval. */
export interface Series {
  instrument: Instrument;
  interval: Interval;
}

/** What became of the klines that a source sent. */
export interface StoreCounts {
  inserted: number;
  /** Stored before with other values, and corrected. */
  revised: number;
  /** No candles: kept in rejected_klines with the reason. */
  rejected: number;
}

export interface Page {
  /** The open times that were asked for. */
  asked: TimeRange;
  /** Lines of 12 fields, as in Binance's files. */
  csv: Buffer;
  /** The exchange's clock before it was asked: candles that close later are still forming. */
  askedAtMs: number;
  /** For rejected_klines: 'rest' or the name of a file. */
  source: string;
}

/**
 * Stores one page, in one transaction. The session holds the instrument's lock.
 * @throws KlinekeepError (75) when the lock was lost to another run; what PostgreSQL says else.
 */
export async function storePage(
  session: Session,
  series: Series,
  page: Page,
): Promise<StoreCounts> {
  const encoded = encodeKlines(page.csv, page.asked, page.askedAtMs);
  const { count, rejected } = encoded;
  if (count === 0 && rejected.length === 0) return { inserted: 0, revised: 0, rejected: 0 };

  return await lockedTransaction(session, series.instrument.id, '', async (tx) => {
    const counts = { inserted: 0, revised: 0, rejected: rejected.length };
    if (count > 0) {
      await ensureTable(tx, series.instrument);
      await runSql(tx, 'klines/create_staging.sql');
      await stage(tx, encoded);
      Object.assign(counts, await storeStaged(tx, series, encoded));
    }
    await storeRejected(tx, series, page.source, rejected);
    return counts;
  });
}

/** Adds candles to this session's staging table. */
export async function stage(
  sql: Session | postgres.TransactionSql,
  { rows }: EncodedKlines,
): Promise<void> {
  await copyIn(sql, STAGE_COPY, [COPY_HEADER, rows, COPY_TRAILER]);
}

type MergeCounts = Pick<StoreCounts, 'inserted' | 'revised'>;

async function storeStaged(
  tx: postgres.TransactionSql,
  series: Series,
  { isSorted, firstMs, lastMs }: EncodedKlines,
): Promise<MergeCounts> {
  const [range] = await runSql<{ is_empty: boolean }>(tx, 'klines/is_empty.sql', {
    instrument_id: series.instrument.id,
    interval: series.interval,
    from_time: new Date(firstMs),
    last_time: new Date(lastMs),
  });
  return await merge(
    tx,
    series,
    isSorted && range?.is_empty ? 'klines/insert.sql' : 'klines/merge.sql',
  );
}

/** Brings the staged candles into klines. */
export async function merge(
  tx: postgres.TransactionSql,
  { instrument, interval }: Series,
  file = 'klines/merge.sql',
): Promise<MergeCounts> {
  const [counts] = await runSql<MergeCounts>(tx, file, { instrument_id: instrument.id, interval });
  return counts as MergeCounts;
}

/** Makes the instrument's table when its first candle comes. */
export async function ensureTable(
  tx: postgres.TransactionSql,
  instrument: Instrument,
): Promise<void> {
  const [found] =
    await tx`select to_regclass(format('%I', ${instrument.tableName}::text)) is not null as there`;
  if (found?.there) return;
  await runSql(tx, 'klines/create_table.sql', {
    hot: instrument.tableName,
    instrument_id: instrument.id,
  });
}

/** Keeps what was refused, once however often it is sent. */
export async function storeRejected(
  tx: postgres.TransactionSql,
  { instrument, interval }: Series,
  source: string,
  rejected: readonly RejectedKline[],
): Promise<void> {
  if (rejected.length === 0) return;
  const rows = rejected.map(({ raw, reason }) => ({
    instrument_id: instrument.id,
    interval,
    source,
    reason,
    raw,
  }));
  await tx`insert into rejected_klines ${tx(rows)} on conflict do nothing`;
}
