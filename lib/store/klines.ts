import type postgres from 'postgres';
import {
  countSlots,
  rangeValues,
  readKlines,
  type Series,
  seriesValues,
  type TimeRange,
} from '../market/mod.ts';
import {
  copyIn,
  quoteIdentifier,
  runSql,
  type Session,
  SQLSTATE,
  sqlState,
} from '../postgres/mod.ts';
import { logDifferences, requestDisputed, settleDisputes } from './disputes.ts';
import { COPY_COLUMNS, KlineEncoder } from './kline-copy.ts';
import { lockedTransaction, runLocked } from './locks.ts';
import {
  NOTHING_STORED,
  type Page,
  type PageCounts,
  type RequestAgain,
  type StoreCounts,
} from './page.ts';
import { storeRejected } from './rejected-klines.ts';
import { merge, stage } from './staging.ts';
import { assertTable, ensureTable } from './tables.ts';

/** About sixty candles: a top-up. */
const FEW_BYTES = 10_000;

/**
 * Stores one page, in one transaction. The session holds the instrument's lock.
 *
 * Where nothing is stored yet the candles go straight into their table. Where something may be,
 * or the page holds a candle twice, they are staged and merged. Every stored candle that changes or
 * differs is logged in `repairs`.
 * @param requestAgain called for candles that the page has twice with different values, and for a
 * file also for those that differ from the stored ones: REST decides which ones are stored
 * @throws KlinekeepError (75) when the lock was lost to another run; otherwise PostgreSQL's error.
 */
export async function storePage(
  session: Session,
  series: Series,
  page: Page,
  requestAgain: RequestAgain,
): Promise<PageCounts> {
  if (page.csv.length === 0 && !page.pieces && !page.alongside) return NOTHING_STORED;
  if (page.csv.length < FEW_BYTES && !page.pieces && !page.alongside) {
    const counts = await storeFew(session, series, page);
    if (counts) return counts;
  }
  if (!(await isEmpty(session, series, page.wanted ?? page.asked)))
    return await mergePage(session, series, page, requestAgain);
  try {
    return await insertPage(session, series, page);
  } catch (error) {
    if (sqlState(error) !== SQLSTATE.uniqueViolation) throw error;
    return await mergePage(session, series, page, requestAgain);
  }
}

/**
 * Stores a top-up in one trip to the server.
 * @returns undefined when that is not enough: the table does not exist yet, or rows must be rejected
 */
async function storeFew(
  session: Session,
  series: Series,
  page: Page,
): Promise<StoreCounts | undefined> {
  const { candles, rejected } = readKlines(page.csv, { ...page, interval: series.interval });
  if (rejected > 0) return undefined;
  if (candles.length === 0) return NOTHING_STORED;
  if (new Set(candles.map((candle) => candle.open_time)).size < candles.length) return undefined;
  try {
    const [counts] = await runLocked<{ inserted: number; revised: number }>(
      session,
      series.instrument.id,
      [
        ...['store/create_staging.sql', 'store/stage_few.sql'],
        ...['store/log_differences.sql', 'store/merge.sql'],
      ],
      { ...seriesValues(series), candles: JSON.stringify(candles), source: page.source },
    );
    return { ...NOTHING_STORED, ...counts };
  } catch (error) {
    // klines has no partition for the row yet.
    if (sqlState(error) === SQLSTATE.checkViolation) return undefined;
    throw error;
  }
}

async function isEmpty(session: Session, series: Series, range: TimeRange): Promise<boolean> {
  const values = rangeValues(series, range);
  const [found] = await runSql<{ is_empty: boolean }>(session, 'store/is_empty.sql', values);
  return found?.is_empty ?? false;
}

async function insertPage(session: Session, series: Series, page: Page): Promise<StoreCounts> {
  const encoder = new KlineEncoder(series, page);
  const chunks = concat(encoder.data());
  // The table is created with the first candle, not before.
  const first: Buffer[] = [];
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
    // An empty chunk is a view of a whole buffer, which it would keep in memory.
    if (next.value.length > 0) first.push(next.value);
    if (encoder.count > 0) break;
  }
  if (encoder.count > 0) await ensureTable(session, series.instrument);
  return await lockedTransaction(session, series.instrument.id, '', async (tx) => {
    if (encoder.count > 0) {
      const table = quoteIdentifier(series.instrument.tableName);
      await copyIn(
        tx,
        `copy ${table} ${COPY_COLUMNS} from stdin (format binary)`,
        concat(first, chunks),
      );
      // From here on PostgreSQL keeps the table unchanged. It may have been detached or replaced before.
      await assertTable(tx, series.instrument);
    }
    await storeRejected(tx, series, page.source, encoder.rejected);
    const slots =
      encoder.offGrid > 0 && page.alongside
        ? await countFilledSlots(tx, 'klines', series, encoder.wanted)
        : encoder.count;
    await page.alongside?.(tx, slots, false);
    return {
      inserted: encoder.count,
      revised: 0,
      disputed: 0,
      rejected: encoder.rejectedCount,
      isComplete:
        encoder.offGrid === 0 && encoder.count === countSlots(series.interval, encoder.wanted),
    };
  });
}

async function* concat<T>(...parts: (Iterable<T> | AsyncIterable<T>)[]): AsyncGenerator<T> {
  for (const part of parts) yield* part;
}

async function mergePage(
  session: Session,
  series: Series,
  page: Page,
  requestAgain: RequestAgain,
): Promise<StoreCounts> {
  const encoder = new KlineEncoder(series, page);
  await ensureTable(session, series.instrument);
  await runSql(session, 'store/create_staging.sql');
  await stage(session, encoder);
  // Before the transaction, which must not wait for Binance. Nothing changes until then: the
  // session holds the instrument's lock.
  const disputed = await requestDisputed(session, series, page, requestAgain);
  return await lockedTransaction(session, series.instrument.id, '', async (tx) => {
    const settled = await settleDisputes(tx, series, page, disputed);
    if (page.source === 'rest') await logDifferences(tx, series, 'rest');
    const merged = await merge(tx, series);
    await storeRejected(tx, series, page.source, encoder.rejected);
    if (page.alongside) {
      const slots = await countFilledSlots(tx, 'staged_klines', series, encoder.wanted);
      await page.alongside(tx, slots, true);
    }
    return { ...merged, disputed: settled, rejected: encoder.rejectedCount };
  });
}

/** Slots of a range with a candle: a file may hold one twice, or two of which one is off the grid. */
async function countFilledSlots(
  tx: postgres.TransactionSql,
  table: 'klines' | 'staged_klines',
  { instrument, interval }: Series,
  range: TimeRange,
): Promise<number> {
  const [found] = await tx`
    select count(distinct slot_of(${interval}, open_time))::int as slots
    from ${tx(table)}
    where instrument_id = ${instrument.id}
      and interval = ${interval}
      and open_time >= ${new Date(range.fromMs)}
      and open_time < ${new Date(range.toMs)}`;
  return found?.slots;
}
