import type postgres from 'postgres';
import type { RawKline } from './binance/rest.ts';
import { copyIn, type Session } from './db.ts';
import type { Instrument } from './instruments.ts';
import type { Interval, TimeRange } from './intervals.ts';
import { type CheckedKline, COPY_STAGED, checkKline } from './kline-row.ts';
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
  rows: readonly RawKline[];
  /** The exchange's clock before it was asked: candles that close later are still forming. */
  askedAtMs: number;
  /** For rejected_klines: 'rest' or the name of a file. */
  source: string;
}

/** Sorts a page into candles that can be stored and rows that cannot; drops the forming candle. */
export function checkPage(page: Page): {
  candles: CheckedKline[];
  rejected: { raw: RawKline; reason: string }[];
} {
  const candles: CheckedKline[] = [];
  const rejected: { raw: RawKline; reason: string }[] = [];
  for (const raw of page.rows) {
    const checked = checkKline(raw, page.asked);
    if (typeof checked === 'string') rejected.push({ raw, reason: checked });
    else if (checked.closeMs < page.askedAtMs) candles.push(checked);
  }
  return { candles, rejected };
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
  const { candles, rejected } = checkPage(page);
  const { instrument } = series;
  if (candles.length === 0 && rejected.length === 0)
    return { inserted: 0, revised: 0, rejected: 0 };

  return await lockedTransaction(session, instrument.id, '', async (tx) => {
    const counts = { inserted: 0, revised: 0, rejected: rejected.length };
    if (candles.length > 0) {
      await ensureTable(tx, instrument);
      await runSql(tx, 'klines/create_staging.sql');
      await stage(tx, candles);
      Object.assign(counts, await merge(tx, series));
    }
    await storeRejected(tx, series, page.source, rejected);
    return counts;
  });
}

/** Adds candles to this session's staging table. */
export async function stage(
  sql: Session | postgres.TransactionSql,
  candles: readonly CheckedKline[],
): Promise<void> {
  await copyIn(
    sql,
    COPY_STAGED,
    candles.map((candle) => candle.copyLine),
  );
}

export async function merge(
  tx: postgres.TransactionSql,
  { instrument, interval }: Series,
): Promise<{ inserted: number; revised: number }> {
  const [counts] = await runSql<{ inserted: number; revised: number }>(tx, 'klines/merge.sql', {
    instrument_id: instrument.id,
    interval,
  });
  return counts as { inserted: number; revised: number };
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
  rejected: readonly { raw: RawKline; reason: string }[],
): Promise<void> {
  if (rejected.length === 0) return;
  const rows = rejected.map(({ raw, reason }) => ({
    instrument_id: instrument.id,
    interval,
    source,
    reason,
    raw: JSON.stringify(raw) ?? 'undefined',
  }));
  await tx`insert into rejected_klines ${tx(rows)} on conflict do nothing`;
}
