/** Copies the candles of another program's table into the store. */
import type postgres from 'postgres';
import { KlinekeepError } from '../base/mod.ts';
import type { Series } from '../market/mod.ts';
import { runSql, type Session, SqlText, streamSql } from '../postgres/mod.ts';
import {
  encoderFor,
  ensureTable,
  type KlineEncoder,
  lockedTransaction,
  type Page,
  stage,
  storeRejected,
} from '../store/mod.ts';
import type { RowSource } from './adopt-columns.ts';
import type { ForeignTable } from './adopt-source.ts';
import { assertSpacing } from './adopt-spacing.ts';

/** Binance's first candle opened in 2017: what is older is no time in ms or µs. */
const FIRST_MS = Date.UTC(2017, 0, 1);
const ROWS_PER_PAGE = 20_000;
const ROWS_PER_BATCH = 2_000;
/** Rejected rows that are kept of one table: enough to see what is wrong with it. */
const MAX_KEPT = 10_000;

export interface AdoptCounts {
  /** Rows of the table that belong to the series. */
  rows: number;
  inserted: number;
  /** Stored already, with the same values. */
  equal: number;
  /** Stored already, with other values: what is stored stays. */
  different: number;
  /** Rows with the open time of another row; the latest counts. */
  duplicates: number;
  /** Rows that are no candles. */
  rejected: number;
  /** Rows whose candle has not closed yet: left out. */
  forming: number;
  /** Only in the comparison: neither tier has the candle. */
  missing: number;
  /** Open time of the first candle that differs, Unix ms. */
  firstDifferentMs: number | undefined;
  /** The first reasons for which rows were rejected. */
  reasons: string[];
}

export interface AdoptListener {
  onRows?: (rows: number, untilMs: number) => void;
}

export interface AdoptWork {
  /** Holds the instrument's lock, or is to compare only. */
  session: Session;
  /** A connection of its own: the rows are read while the page before is stored. */
  reader: postgres.Sql;
  series: Series;
  source: ForeignTable;
  plan: RowSource;
  /** The exchange's clock, Unix ms: candles that close later are left out. */
  nowMs: number;
  signal: AbortSignal;
  /** Store candles; false: compare with what is stored. */
  writes: boolean;
  listener?: AdoptListener;
}

/**
 * Reads the whole table through the reader that every candle goes through, page by page, and stores
 * what neither tier has, or only compares. Each page is a transaction: a run that is killed is run again.
 * @throws KlinekeepError (65) when the table has no rows, or candles of another interval
 */
export async function copyCandles(work: AdoptWork): Promise<AdoptCounts> {
  const total = noCounts();
  for await (const { csv, rows } of readPages(work)) {
    work.signal.throwIfAborted();
    const page: Page = {
      asked: { fromMs: FIRST_MS, toMs: Math.max(FIRST_MS, work.nowMs) },
      csv,
      askedAtMs: work.nowMs,
      source: `table ${work.source.quoted}`,
    };
    const counts = await takePage(work, page, total.rejected);
    total.rows += rows;
    total.forming += rows - counts.read - counts.rejected;
    for (const name of ['inserted', 'equal', 'different', 'duplicates', 'missing'] as const)
      total[name] += counts[name];
    total.rejected += counts.rejected;
    total.firstDifferentMs ??= counts.firstDifferentMs;
    total.reasons = [...new Set([...total.reasons, ...counts.reasons])].slice(0, 3);
    work.listener?.onRows?.(rows, counts.untilMs);
  }
  if (total.rows === 0) {
    throw new KlinekeepError('data', `${work.source.quoted} has no rows to copy.`, {
      hint: work.plan.notes.join('\n'),
    });
  }
  return total;
}

function noCounts(): AdoptCounts {
  return {
    ...{ rows: 0, inserted: 0, equal: 0, different: 0, duplicates: 0 },
    ...{ rejected: 0, forming: 0, missing: 0, firstDifferentMs: undefined, reasons: [] },
  };
}

/** Pages of rows; rows of one open time are never parted. */
async function* readPages({ reader, series, source, plan }: AdoptWork) {
  const batches = streamSql<{ open_time_text: string; line: string }>(
    reader,
    'download/adopted_rows.sql',
    { ...rowValues(plan), table: new SqlText(source.quoted) },
    ROWS_PER_BATCH,
  );
  let lines: string[] = [];
  let last: string | undefined;
  let isFirst = true;
  const page = () => ({ csv: Buffer.from(lines.join('\n')), rows: lines.length });
  for await (const rows of batches) {
    if (isFirst)
      assertSpacing(
        rows.map((row) => Number(row.open_time_text)),
        series.interval,
      );
    isFirst = false;
    for (const { open_time_text: time, line } of rows) {
      if (lines.length >= ROWS_PER_PAGE && (time !== last || lines.length >= 2 * ROWS_PER_PAGE)) {
        yield page();
        lines = [];
      }
      lines.push(line);
      last = time;
    }
  }
  if (lines.length > 0) yield page();
}

function rowValues({ open_time, line, filter, order, newest }: RowSource) {
  return { open_time, line, filter, order, newest };
}

interface PageResult extends Omit<AdoptCounts, 'rows' | 'forming'> {
  /** Rows that are closed candles. */
  read: number;
  untilMs: number;
}

async function takePage(work: AdoptWork, page: Page, rejectedBefore: number): Promise<PageResult> {
  const { session, series, writes } = work;
  const encoder = encoderFor(series, page);
  const take = async (tx: postgres.TransactionSql) => {
    // The planner knows nothing of rows that have just come, and would compare each with each.
    await tx`set local enable_nestloop = off`;
    await runSql(tx, 'store/create_staging.sql');
    await stage(tx, encoder);
    if (writes) {
      const kept = encoder.rejected.slice(0, Math.max(0, MAX_KEPT - rejectedBefore));
      await storeRejected(tx, series, page.source, kept);
    }
    return await merge(tx, series, writes);
  };
  if (writes) await ensureTable(session, series.instrument);
  const merged = writes
    ? await lockedTransaction(session, series.instrument.id, '', take)
    : ((await session.begin(take)) as Awaited<ReturnType<typeof merge>>);
  return { ...merged, ...describeRead(encoder) };
}

function describeRead(encoder: KlineEncoder) {
  return {
    read: encoder.count,
    rejected: encoder.rejectedCount,
    reasons: [...new Set(encoder.rejected.slice(0, 100).map(({ reason }) => reason))],
  };
}

async function merge(
  tx: postgres.TransactionSql,
  { instrument, interval }: Series,
  writes: boolean,
) {
  const [range] = await tx`
    select min(open_time) as from_time, max(open_time) as to_time from staged_klines`;
  const none = { inserted: 0, missing: 0, equal: 0, different: 0, duplicates: 0 };
  if (!range?.from_time) return { ...none, firstDifferentMs: undefined, untilMs: 0 };
  const [row] = await runSql<typeof none & { first_different: Date | null }>(
    tx,
    'download/merge_adopted.sql',
    {
      instrument_id: instrument.id,
      interval,
      from_time: range.from_time,
      to_time: range.to_time,
      writes: String(writes),
    },
  );
  const { first_different, ...counts } = row ?? { ...none, first_different: null };
  return {
    ...counts,
    firstDifferentMs: first_different?.getTime(),
    untilMs: range.to_time.getTime() as number,
  };
}
