/** Copies the candles of another program's table into the store. */
import type postgres from 'postgres';
import { KlinekeepError } from '../base/mod.ts';
import { addSteps, INTERVALS, type Interval, type Series, seriesValues } from '../market/mod.ts';
import { type Database, runSql, type Session, SqlText, streamSql } from '../postgres/mod.ts';
import {
  ensureTable,
  KlineEncoder,
  lockedTransaction,
  stage,
  storeRejected,
} from '../store/mod.ts';
import { type FieldMap, planRows } from './adopt-columns.ts';
import type { ForeignTable } from './adopt-table.ts';

/** Binance's first candle opened in 2017: an earlier number is not a time in ms or µs. */
const FIRST_MS = Date.UTC(2017, 0, 1);
const ROWS_PER_PAGE = 20_000;
const ROWS_PER_BATCH = 2_000;
/** Rejected rows that are stored of one table: enough to see what is wrong with it. */
const MAX_REJECTED = 10_000;

export interface AdoptCounts {
  /** Rows of the table that belong to the series. */
  rows: number;
  inserted: number;
  /** Stored before, with the same values. */
  equal: number;
  /** Stored before, with other values, which stay. */
  different: number;
  /** Rows with the open time of another row; the latest counts. */
  duplicates: number;
  /** Rows that are no candles. */
  rejected: number;
  /** Rows whose candle has not closed yet: left out. */
  forming: number;
  /** Candles that neither tier had before. */
  missing: number;
  /** Open time of the first candle that differs, Unix ms. */
  firstDifferentMs: number | undefined;
  /** The first reasons for which rows were rejected. */
  reasons: string[];
}

export interface AdoptWork {
  database: Database;
  /** Holds the instrument's lock, unless it only compares. */
  session: Session;
  series: Series;
  table: ForeignTable;
  map: FieldMap;
  /** The exchange's clock, Unix ms: candles that close later are left out. */
  nowMs: number;
  signal: AbortSignal;
  /** True: stores candles. False: compares with what is stored. */
  writes: boolean;
  onNote?: (note: string) => void;
  onRows: (rows: number, untilMs: number) => void;
}

/**
 * Reads the whole table, page by page, through the reader of all candles, and stores those that
 * neither tier has, or only compares. Each page is one transaction, so a run that is killed can be
 * run again.
 * @throws KlinekeepError (65) when the table has no rows, candles of another interval, or columns
 * that cannot be read
 */
export async function copyCandles(work: AdoptWork): Promise<AdoptCounts> {
  const { table, series, map, signal, onNote, onRows } = work;
  const plan = planRows(table.columns, series, map);
  for (const note of plan.notes) onNote?.(note);
  const total: AdoptCounts = {
    rows: 0,
    inserted: 0,
    equal: 0,
    different: 0,
    duplicates: 0,
    rejected: 0,
    forming: 0,
    missing: 0,
    firstDifferentMs: undefined,
    reasons: [],
  };
  // On a connection of its own, so that rows are read while the page before is stored.
  const reader = work.database.openSession();
  try {
    const values = { ...plan.values, table: new SqlText(table.quoted) };
    for await (const lines of readPages(reader, values, series.interval)) {
      signal.throwIfAborted();
      onRows(lines.length, await takePage(work, lines, total));
    }
  } finally {
    await reader.end({ timeout: 5 });
  }
  if (total.rows > 0) return total;
  throw new KlinekeepError('data', `${table.quoted} has no rows to copy.`, {
    hint: plan.notes.join('\n'),
  });
}

/** Pages of lines. Rows of one open time stay on one page, unless they are very many. */
async function* readPages(
  reader: postgres.Sql,
  values: Record<string, SqlText>,
  interval: Interval,
): AsyncGenerator<string[]> {
  const file = 'download/adopted_rows.sql';
  type Row = { open_time_text: string; line: string };
  let lines: string[] = [];
  let lastTime: string | undefined;
  for await (const rows of streamSql<Row>(reader, file, values, ROWS_PER_BATCH)) {
    if (lastTime === undefined)
      assertSpacing(
        rows.map((row) => Number(row.open_time_text)),
        interval,
      );
    for (const { open_time_text: time, line } of rows) {
      const isFull = lines.length >= ROWS_PER_PAGE;
      if (isFull && (time !== lastTime || lines.length >= 2 * ROWS_PER_PAGE)) {
        yield lines;
        lines = [];
      }
      lines.push(line);
      lastTime = time;
    }
  }
  if (lines.length > 0) yield lines;
}

/**
 * Checks that rows are as far apart as candles of the interval: 1m candles stored as 1h would
 * look like candles off the grid.
 * @param openTimes of the first rows, in order, Unix ms
 * @throws KlinekeepError (65) when most of them are as far apart as those of another interval
 */
function assertSpacing(openTimes: readonly number[], interval: Interval): void {
  const times = [...new Set(openTimes)].filter(Number.isFinite);
  const countNeighbours = (each: Interval) =>
    times.filter((time, index) => times[index + 1] === addSteps(each, time, 1)).length;
  const found = INTERVALS.find((each) => countNeighbours(each) * 2 > times.length - 1);
  if (found === undefined || found === interval) return;
  throw new KlinekeepError(
    'data',
    `The candles in this table are ${found} apart, but --interval is ${interval}.`,
    {
      hint: `Use --interval ${found}, or name the table that has the ${interval} candles.`,
    },
  );
}

/** Stores or compares one page, and adds its counts to `total`. @returns its last open time, Unix ms */
async function takePage(
  { session, series, table, nowMs, writes }: AdoptWork,
  lines: readonly string[],
  total: AdoptCounts,
): Promise<number> {
  const source = `table ${table.quoted}`;
  const encoder = new KlineEncoder(series, {
    asked: { fromMs: FIRST_MS, toMs: Math.max(FIRST_MS, nowMs) },
    csv: Buffer.from(lines.join('\n')),
    askedAtMs: nowMs,
    source,
  });
  const mergePage = async (tx: postgres.TransactionSql): Promise<Merged> => {
    // The planner has no statistics of the staged rows, and would compare each with each.
    await tx`set local enable_nestloop = off`;
    await runSql(tx, 'store/create_staging.sql');
    await stage(tx, encoder);
    if (writes) {
      const stored = encoder.rejected.slice(0, Math.max(0, MAX_REJECTED - total.rejected));
      await storeRejected(tx, series, source, stored);
    }
    const values = { ...seriesValues(series), writes: String(writes) };
    const [merged] = await runSql<Merged>(tx, 'download/merge_adopted.sql', values);
    return merged as Merged;
  };
  if (writes) await ensureTable(session, series.instrument);
  const merged = writes
    ? await lockedTransaction(session, series.instrument.id, '', mergePage)
    : ((await session.begin(mergePage)) as Merged);

  total.rows += lines.length;
  total.rejected += encoder.rejectedCount;
  total.forming += lines.length - encoder.count - encoder.rejectedCount;
  const reasons = encoder.rejected.slice(0, 100).map(({ reason }) => reason);
  total.reasons = [...new Set([...total.reasons, ...reasons])].slice(0, 3);
  for (const name of MERGED) total[name] += merged[name];
  total.firstDifferentMs ??= merged.first_different?.getTime();
  return merged.last_time?.getTime() ?? 0;
}

const MERGED = ['inserted', 'equal', 'different', 'duplicates', 'missing'] as const;

/** The row of download/merge_adopted.sql. */
type Merged = Record<(typeof MERGED)[number], number> &
  Record<'first_different' | 'last_time', Date | null>;
