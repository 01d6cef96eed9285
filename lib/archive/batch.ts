import type postgres from 'postgres';
import { formatShort, KlinekeepError } from '../base/mod.ts';
import type { Series, TimeRange } from '../market/mod.ts';
import { runSql, runStatements, type Session, type SqlValues } from '../postgres/mod.ts';
import { lockedTransaction } from '../store/mod.ts';
import type { Direction } from './log.ts';
import { type Columns, tablesOf } from './tables.ts';

export interface Batch {
  /** A UUID of its own: the log tells by it whether the batch was committed. */
  id: string;
  runId: string;
  direction: Direction;
  /** Of both tables. */
  columns: Columns;
  window: TimeRange;
}

export interface BatchCounts {
  movedRows: number;
  /** The other tier had it already: the copy here went without moving. */
  droppedRows: number;
}

interface Settled {
  equal_rows: number;
  conflict_rows: number;
  conflicts: string | null;
  dropped_rows: number;
  dropped_hash: string;
  replaced_hash: string;
  is_settled: boolean;
}

const NOTHING_SETTLED: Settled = {
  equal_rows: 0,
  conflict_rows: 0,
  conflicts: null,
  dropped_rows: 0,
  dropped_hash: '0',
  replaced_hash: '0',
  is_settled: true,
};

/**
 * Moves the candles of one window from one tier to the other in one transaction, which commits
 * only when it is proven that the target gained what the source lost. The session holds the
 * instrument's lock.
 * @throws KlinekeepError (1) when it is not proven, (75) when the lock was lost to another run; what
 * PostgreSQL says else, with 40001 when somebody changed a candle of the window meanwhile
 */
export async function moveBatch(
  session: Session,
  { instrument, interval }: Series,
  { id, runId, direction, columns, window }: Batch,
): Promise<BatchCounts> {
  const values: SqlValues = {
    ...tablesOf(instrument, direction),
    ...columns,
    instrument_id: instrument.id,
    interval,
    from_time: new Date(window.fromMs),
    to_time: new Date(window.toMs),
  };
  return await lockedTransaction(session, instrument.id, REPEATABLE_READ, async (tx) => {
    const { held, settled } = await makeRoom(tx, values);
    const [copied, proof] = await runStatements<{
      wanted_rows: number;
      gained_rows: number;
      is_proven: boolean;
    }>(tx, 'archive/move.sql', {
      ...values,
      batch_id: id,
      run_id: runId,
      direction,
      held_rows: held.row_count,
      held_hash: held.content_hash,
      equal_rows: settled.equal_rows,
      conflict_rows: settled.conflict_rows,
      conflicts: settled.conflicts ?? '',
      dropped_rows: settled.dropped_rows,
      dropped_hash: settled.dropped_hash,
      replaced_hash: settled.replaced_hash,
    });
    const [deleted] = await runStatements(tx, 'archive/delete_moved.sql', values);
    const found = proof?.rows[0];
    const isProven =
      found?.is_proven && copied?.count === found.wanted_rows && deleted?.count === copied.count;
    if (!isProven || !settled.is_settled) {
      throw new KlinekeepError(
        'failed',
        `Of ${found?.wanted_rows} candles ${copied?.count} were copied, ${found?.gained_rows} arrived and ${deleted?.count} were deleted, ` +
          `or not the same ones, between ${formatShort(window.fromMs)} and ${formatShort(window.toMs)}. The batch was rolled back.`,
        {
          hint: 'A trigger or a rule on these tables may be in the way. verify checks what is stored.',
        },
      );
    }
    return { movedRows: found.wanted_rows, droppedRows: settled.dropped_rows };
  });
}

const REPEATABLE_READ = 'isolation level repeatable read';

/** What the target holds of the window, after the candles that both hold have been settled. */
async function makeRoom(tx: postgres.TransactionSql, values: SqlValues) {
  const look = async () => {
    const [held] = await runSql<{ row_count: number; content_hash: string }>(
      tx,
      'archive/read_target.sql',
      values,
    );
    return held as { row_count: number; content_hash: string };
  };
  const before = await look();
  if (before.row_count === 0) return { held: before, settled: NOTHING_SETTLED };
  const [settled] = await runSql<Settled>(tx, 'archive/resolve_duplicates.sql', values);
  return { held: await look(), settled: settled as Settled };
}
