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
 * First number of the two-number advisory locks. The SQL function lock_class() mixes in the schema of
 * klines: two klinekeeps in one database number their instruments alike and must not share locks.
 * The second number is the instrument's id.
 */
const INSTRUMENT_LOCKS = 0x6b6c;
/** Each transaction of a helper holds one of these, shared, while it writes. */
const HELPER_LOCKS = 0x6b6d;
/** Held by the transaction that creates the instrument's table. */
const TABLE_LOCKS = 0x6b6e;

/** Helper sessions, each with the server process of the session that holds the lock for it. */
const owners = new WeakMap<Session, number>();

/** Another run works on the instrument. */
export class InstrumentBusy extends KlinekeepError {
  constructor() {
    super('later', 'Another run is working on this instrument.', {
      hint: 'Run it again when the other run has finished.',
    });
  }
}

/**
 * Runs `work` while this session is the instrument's only writer.
 * @throws InstrumentBusy at once when another run has the lock; what `work` throws
 */
export async function withInstrumentLock<T>(
  session: Session,
  instrumentId: number,
  work: () => Promise<T>,
): Promise<T> {
  try {
    if (!(await lockInstrument(session, instrumentId))) throw new InstrumentBusy();
    return await work();
  } finally {
    // When the connection is gone the server has released the lock already.
    await runSql(session, 'store/unlock_session.sql', {
      lock_class: INSTRUMENT_LOCKS,
      instrument_id: instrumentId,
    }).catch(() => {});
  }
}

async function lockInstrument(session: Session, instrumentId: number): Promise<boolean> {
  try {
    const [row] = await runSql<{ taken: boolean }>(session, 'store/lock_session.sql', {
      lock_class: INSTRUMENT_LOCKS,
      helper_class: HELPER_LOCKS,
      instrument_id: instrumentId,
    });
    return row?.taken ?? false;
  } catch (error) {
    // The helper of a run that is gone did not end its transaction within lock_timeout.
    if (sqlState(error) === SQLSTATE.lockNotAvailable) return false;
    throw error;
  }
}

/** Lets a second session, the helper, write under the lock that the owner holds. */
export async function helpWith(owner: Session, helper: Session): Promise<void> {
  const [row] = await owner`select pg_backend_pid() as pid`;
  owners.set(helper, row?.pid);
}

/**
 * Runs one transaction on an instrument's candles while no other run can write them. The session may
 * have lost its lock since it took it, so each transaction takes it once more.
 * @param mode for BEGIN, e.g. `isolation level repeatable read`
 * @throws KlinekeepError (75) when another run has taken the instrument
 */
export async function lockedTransaction<T>(
  session: Session,
  instrumentId: number,
  mode: string,
  work: (tx: postgres.TransactionSql) => Promise<T>,
): Promise<T> {
  const result = await session.begin(mode, async (tx) => {
    const owner = owners.get(session);
    const isLocked =
      owner === undefined
        ? await tryLock(tx, instrumentId)
        : await joinLock(tx, instrumentId, owner);
    if (!isLocked) throw lockLost();
    return await work(tx);
  });
  return result as T;
}

function lockLost(): KlinekeepError {
  return new KlinekeepError(
    'later',
    'The connection was lost and another run took over this instrument.',
    { hint: 'No candle is lost. Run it again when the other run has finished.' },
  );
}

/** Lets one transaction at a time create the instrument's table; the others wait for it to end. */
export async function lockTable(tx: Sql, instrumentId: number): Promise<void> {
  await tx`select pg_advisory_xact_lock(lock_class(${TABLE_LOCKS}), ${instrumentId})`;
}

/**
 * Runs SQL files as one transaction on an instrument's candles, in one round trip.
 * @returns the rows of the last statement
 * @throws KlinekeepError (75) as `lockedTransaction` does
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
    // How lock_transaction.sql reports that another run has the lock.
    throw sqlState(error) === SQLSTATE.divisionByZero ? lockLost() : error;
  }
}

/** A statement without parameters takes one round trip; with them it would take two. */
async function tryLock(tx: Sql, instrumentId: number): Promise<boolean> {
  const [row] = await runSql<{ taken: boolean }>(tx, 'store/try_lock_transaction.sql', {
    lock_class: INSTRUMENT_LOCKS,
    instrument_id: instrumentId,
  });
  return row?.taken ?? false;
}

/**
 * The order matters. A run that takes over the instrument waits for the helpers' locks before it
 * begins. So either it waits for this transaction, or this transaction sees that its owner is gone.
 */
async function joinLock(tx: Sql, instrumentId: number, owner: number): Promise<boolean> {
  await tx`select pg_advisory_xact_lock_shared(lock_class(${HELPER_LOCKS}), ${instrumentId})`;
  const [row] = await tx`select ${owner}::int in (${holderPid(tx, instrumentId)}) as is_locked`;
  return row?.is_locked;
}

/** SQL for the server process of the session that holds the instrument's lock. */
function holderPid(sql: Sql, instrumentId: number) {
  return sql`
    select l.pid
    from pg_locks l
    join pg_database d on d.oid = l.database and d.datname = current_database()
    where l.locktype = 'advisory' and l.objsubid = 2 and l.mode = 'ExclusiveLock' and l.granted
      and l.classid = lock_class(${INSTRUMENT_LOCKS})::oid and l.objid = ${instrumentId}`;
}

/**
 * The verb of another run that may be adding candles to the instrument right now, e.g. `fetch`.
 * Runs that move candles between the tiers do not count: each of their transactions is complete.
 */
export async function instrumentHolder(
  sql: Sql,
  instrumentId: number,
): Promise<string | undefined> {
  const [row] = await sql`
    select application_name as name
    from pg_stat_activity
    where pid in (${holderPid(sql, instrumentId)})
      and application_name in ('klinekeep fetch', 'klinekeep update', 'klinekeep db adopt')
    limit 1`;
  return row?.name.replace('klinekeep ', '');
}
