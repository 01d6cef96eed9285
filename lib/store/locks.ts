import type postgres from 'postgres';
import { KlinekeepError } from '../base/mod.ts';
import {
  runSql,
  type Session,
  SQLSTATE,
  type Sql,
  type SqlValues,
  sqlState,
} from '../postgres/mod.ts';

/**
 * First number of the two-number advisory locks, before `lock_class()` mixes in which klines it is about:
 * two klinekeeps in schemas of one database number their instruments alike, and must not share locks.
 * The second number is the instrument's id.
 */
const INSTRUMENT_LOCKS = 0x6b6c;
/** Held, shared, by each transaction of a helper while it writes. */
const HELPER_LOCKS = 0x6b6d;
/** Held by the transaction that makes the instrument's table. */
const TABLE_LOCKS = 0x6b6e;

/** Helper sessions, with the server process of the session that holds the lock for them. */
const owners = new WeakMap<Session, number>();

/**
 * Runs `work` while this session is the one writer of the instrument.
 * @returns what `work` returns, or 'held' at once when another run has the lock.
 */
export async function withInstrumentLock<T>(
  session: Session,
  instrumentId: number,
  work: () => Promise<T>,
): Promise<T | 'held'> {
  try {
    if (!(await holdLock(session, instrumentId))) return 'held';
    return await work();
  } finally {
    // A connection that is gone has given its lock back already.
    await runSql(session, 'store/unlock_session.sql', {
      lock_class: INSTRUMENT_LOCKS,
      instrument_id: instrumentId,
    }).catch(() => {});
  }
}

async function holdLock(session: Session, instrumentId: number): Promise<boolean> {
  try {
    const [row] = await runSql<{ taken: boolean }>(session, 'store/lock_session.sql', {
      lock_class: INSTRUMENT_LOCKS,
      helper_class: HELPER_LOCKS,
      instrument_id: instrumentId,
    });
    return row?.taken ?? false;
  } catch (error) {
    // A helper of a run that is gone did not end its transaction within lock_timeout.
    if (sqlState(error) === SQLSTATE.lockNotAvailable) return false;
    throw error;
  }
}

/** Lets a second session write under the lock that the first one holds. */
export async function helpWith(owner: Session, helper: Session): Promise<void> {
  const [row] = await owner`select pg_backend_pid() as pid`;
  owners.set(helper, row?.pid);
}

/**
 * One transaction on an instrument's candles, sure that no other run writes them: the session may
 * have lost its lock since it was taken, so each transaction takes it once more.
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
    const owner = owners.get(session);
    const isHeld =
      owner === undefined
        ? await takeLock(tx, instrumentId)
        : await joinLock(tx, instrumentId, owner);
    if (!isHeld) {
      throw lockLost();
    }
    return await work(tx);
  });
  return result as T;
}

function lockLost(): KlinekeepError {
  return new KlinekeepError(
    'later',
    'The connection was lost and another run took over this instrument.',
    { hint: 'Nothing is lost. Run it again when the other run has ended.' },
  );
}

/** Lets one transaction at a time make the instrument's table; the others wait for it to end. */
export async function lockTable(tx: Sql, instrumentId: number): Promise<void> {
  await tx`select pg_advisory_xact_lock(lock_class(${TABLE_LOCKS}), ${instrumentId})`;
}

/**
 * Runs files as one transaction on an instrument's candles, in one trip to the server.
 * @throws KlinekeepError (75) as lockedTransaction does
 */
export async function runLocked<Row extends object>(
  session: Session,
  instrumentId: number,
  files: readonly string[],
  values: SqlValues,
): Promise<Row[]> {
  if (owners.has(session)) {
    return await lockedTransaction(session, instrumentId, '', (tx) => runSql(tx, files, values));
  }
  try {
    return await runSql<Row>(session, ['store/lock_transaction.sql', ...files], {
      ...values,
      lock_class: INSTRUMENT_LOCKS,
      instrument_id: instrumentId,
    });
  } catch (error) {
    throw sqlState(error) === SQLSTATE.divisionByZero ? lockLost() : error;
  }
}

/** By a statement without parameters, which is one trip to the server; with them it would be two. */
async function takeLock(tx: Sql, instrumentId: number): Promise<boolean> {
  const [row] = await runSql<{ taken: boolean }>(tx, 'store/try_lock_transaction.sql', {
    lock_class: INSTRUMENT_LOCKS,
    instrument_id: instrumentId,
  });
  return row?.taken ?? false;
}

/**
 * In this order: whoever takes over the instrument waits for the helpers' lock before it begins,
 * so either it waits for this transaction, or this transaction sees that its owner is gone.
 */
async function joinLock(tx: Sql, instrumentId: number, owner: number): Promise<boolean> {
  await tx`select pg_advisory_xact_lock_shared(lock_class(${HELPER_LOCKS}), ${instrumentId})`;
  const [row] = await tx`
    select exists (
      select from pg_locks l
      join pg_database d on d.oid = l.database and d.datname = current_database()
      where l.locktype = 'advisory' and l.objsubid = 2 and l.mode = 'ExclusiveLock' and l.granted
        and l.classid = lock_class(${INSTRUMENT_LOCKS})::oid and l.objid = ${instrumentId} and l.pid = ${owner}
    ) as held`;
  return row?.held;
}

/**
 * The script of another run that may be adding candles to the instrument right now, e.g.
 * `fetch`. One that moves candles between the tiers does not count: each of its steps is whole.
 */
export async function instrumentHolder(
  sql: Sql,
  instrumentId: number,
): Promise<string | undefined> {
  const [row] = await sql`
    select a.application_name as name
    from pg_locks l
    join pg_database d on d.oid = l.database and d.datname = current_database()
    join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.objsubid = 2 and l.mode = 'ExclusiveLock' and l.granted
      and l.classid = lock_class(${INSTRUMENT_LOCKS})::oid and l.objid = ${instrumentId}
      and a.application_name in ('klinekeep fetch', 'klinekeep update', 'klinekeep db adopt')
    limit 1`;
  return row?.name.replace('klinekeep ', '');
}
