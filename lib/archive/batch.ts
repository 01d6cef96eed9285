import type { TransactionSql } from 'postgres';
import { formatShort, KlinekeepError } from '../base/mod.ts';
import { rangeValues, type Series, type TimeRange } from '../market/mod.ts';
import { runSql, runStatements, type Session, type SqlValues } from '../postgres/mod.ts';
import { lockedTransaction } from '../store/mod.ts';
import type { Direction } from './log.ts';
import { type Columns, tablesFor } from './tables.ts';

export interface Batch {
  /** A UUID. The log has it if the batch was committed; see `resolveUnanswered` in instrument.ts. */
  id: string;
  runId: string;
  direction: Direction;
  /** The columns that both tables have. */
  columns: Columns;
  window: TimeRange;
}

export interface BatchCounts {
  movedRows: number;
  /** Copies that were deleted instead of moved: the other tier had the candle already. */
  droppedRows: number;
  /** Whether sessions waited for a lock of this batch just before its COMMIT. */
  othersWaited: boolean;
}

/** What the target holds of a window: values for move.sql. */
type Held = { held_rows: number; held_hash: string };

/** What was done about the candles that both tables held: values for move.sql. */
type Duplicates = typeof NO_DUPLICATES;

const NO_DUPLICATES = {
  equal_rows: 0,
  conflict_rows: 0,
  /** JSON of both rows of each conflict. */
  conflicts: '',
  dropped_rows: 0,
  dropped_hash: '0',
  replaced_hash: '0',
};

const REPEATABLE_READ = 'isolation level repeatable read';

/**
 * Moves the candles of one window from one tier to the other in one transaction. It commits only
 * when it is proven that the target gained what the source lost. The session holds the
 * instrument's lock.
 * @throws KlinekeepError (1) when that is not proven, (75) when another run has taken the instrument;
 * PostgreSQL's errors, with 40001 when another program changed a candle of the window meanwhile
 */
export async function moveBatch(
  session: Session,
  series: Series,
  { id, runId, direction, columns, window }: Batch,
): Promise<BatchCounts> {
  const { instrument } = series;
  const values: SqlValues = {
    ...tablesFor(instrument, direction),
    ...columns,
    ...rangeValues(series, window),
    ...{ batch_id: id, run_id: runId, direction },
  };
  return await lockedTransaction(session, instrument.id, REPEATABLE_READ, async (tx) => {
    let held = await readTarget(tx, values);
    let duplicates = NO_DUPLICATES;
    if (held.held_rows > 0) {
      duplicates = await resolveDuplicates(tx, values, window);
      held = await readTarget(tx, values);
    }
    const moved = await copyAndDelete(tx, { ...values, ...duplicates, ...held }, window);
    return { ...moved, droppedRows: duplicates.dropped_rows };
  });
}

async function readTarget(tx: TransactionSql, values: SqlValues): Promise<Held> {
  const [found] = await runSql<{ row_count: number; content_hash: string }>(
    tx,
    'archive/read_target.sql',
    values,
  );
  return { held_rows: found?.row_count ?? 0, held_hash: found?.content_hash ?? '0' };
}

/** Deletes one copy of each candle that both tables hold. */
async function resolveDuplicates(
  tx: TransactionSql,
  values: SqlValues,
  window: TimeRange,
): Promise<Duplicates> {
  const [found] = await runSql<Duplicates & { conflicts: string | null; is_settled: boolean }>(
    tx,
    'archive/resolve_duplicates.sql',
    values,
  );
  if (!found?.is_settled) throw notProven('Not every duplicate could be deleted', window);
  const { is_settled, ...duplicates } = found;
  return { ...duplicates, conflicts: duplicates.conflicts ?? '' };
}

/**
 * Copies the window, reads the copy back, logs the batch, deletes the originals, and looks who waits
 * for that.
 */
async function copyAndDelete(
  tx: TransactionSql,
  values: SqlValues,
  window: TimeRange,
): Promise<Pick<BatchCounts, 'movedRows' | 'othersWaited'>> {
  const [copied, compared] = await runStatements<{
    wanted_rows: number;
    gained_rows: number;
    is_proven: boolean;
  }>(tx, 'archive/move.sql', values);
  const [deleted, waiting] = await runStatements<{ waiting_sessions: number }>(
    tx,
    ['archive/delete_moved.sql', 'archive/waiting_sessions.sql'],
    values,
  );
  const proof = compared?.rows[0];
  const isProven =
    proof?.is_proven && copied?.count === proof.wanted_rows && deleted?.count === copied.count;
  if (!isProven) {
    throw notProven(
      `Of ${proof?.wanted_rows} candles ${copied?.count} were copied, ${proof?.gained_rows} arrived and ` +
        `${deleted?.count} were deleted, or not the same ones`,
      window,
    );
  }
  const othersWaited = (waiting?.rows[0]?.waiting_sessions ?? 0) > 0;
  return { movedRows: proof.wanted_rows, othersWaited };
}

function notProven(what: string, { fromMs, toMs }: TimeRange): KlinekeepError {
  return new KlinekeepError(
    'failed',
    `${what}, between ${formatShort(fromMs)} and ${formatShort(toMs)}. The batch was rolled back.`,
    {
      hint: 'A trigger or a rule on these tables may have changed candles. verify checks what is stored.',
    },
  );
}
