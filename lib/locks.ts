import type postgres from 'postgres';
import type { Session } from './db.ts';
import { KlinekeepError } from './errors.ts';

/** First number of the two-number advisory locks; the second is the instrument's id. */
const INSTRUMENT_LOCKS = 0x6b6c;

/**
 * Runs `work` while this session is the one writer of the instrument.
 * @returns what `work` returns, or 'held' at once when another run has the lock.
 */
export async function withInstrumentLock<T>(
  session: Session,
  instrumentId: number,
  work: () => Promise<T>,
): Promise<T | 'held'> {
  const [row] =
    await session`select pg_try_advisory_lock(${INSTRUMENT_LOCKS}, ${instrumentId}) as taken`;
  if (!row?.taken) return 'held';
  try {
    return await work();
  } finally {
    // A connection that is gone has given its lock back already.
    await session`select pg_advisory_unlock(${INSTRUMENT_LOCKS}, ${instrumentId})`.catch(() => {});
  }
}

/**
 * One transaction on an instrument's candles, sure to be its only writer: the session may have
 * reconnected and lost its lock since it was taken, so each transaction takes it once more.
 * @param mode for BEGIN, e.g. `isolation level repeatable read`
 * @throws KlinekeepError (75) when another run took the instrument meanwhile.
 */
export async function lockedTransaction<T>(
  session: Session,
  instrumentId: number,
  mode: string,
  work: (tx: postgres.TransactionSql) => Promise<T>,
): Promise<T> {
  const result = await session.begin(mode, async (tx) => {
    const [row] =
      await tx`select pg_try_advisory_xact_lock(${INSTRUMENT_LOCKS}, ${instrumentId}) as taken`;
    if (!row?.taken) {
      throw new KlinekeepError(
        'later',
        'The connection was lost and another run took over this instrument.',
        {
          hint: 'Nothing is lost. Run it again when the other run has ended.',
        },
      );
    }
    return await work(tx);
  });
  return result as T;
}
