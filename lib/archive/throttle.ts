import { formatDuration, spanForSql, wait } from '../base/mod.ts';
import { quote, runSql, type Session, type Sql } from '../postgres/mod.ts';
import { StoppedEarly } from './move-run.ts';

/** A program that used the database this long ago is likely to use it again. */
const ACTIVE_WITHIN_MS = 5_000;
const MAX_LAG_MS = 10_000;
/** How often the server is asked again while a move waits. */
const ASK_AGAIN_MS = 250;
/** A move stops after waiting this long: a replica may never catch up. */
const MAX_WAIT_MS = 5 * 60_000;
/** A transaction that has been open this long is worth a warning. */
const OLD_MS = 5 * 60_000;

/**
 * Waits while a replica lags or sessions queue for the tables of a move.
 * @param options.deadlineMs by `performance.now()`
 * @param options.onWait called once, with the reason, when it has to wait
 * @throws StoppedEarly at the deadline, and after five minutes of waiting; the signal's reason
 */
export async function waitForOthers(
  session: Session,
  tables: { source: string; target: string },
  options: { deadlineMs: number; signal: AbortSignal; onWait: (reason: string) => void },
): Promise<void> {
  const { deadlineMs, signal, onWait } = options;
  const giveUpMs = performance.now() + MAX_WAIT_MS;
  let isWaiting = false;
  while (true) {
    signal.throwIfAborted();
    if (performance.now() >= deadlineMs) throw new StoppedEarly(StoppedEarly.TIME_IS_UP);
    const reason = await findObstacle(session, tables);
    if (reason === undefined) return;
    if (performance.now() >= giveUpMs) throw new StoppedEarly(reason);
    if (!isWaiting) onWait(reason);
    isWaiting = true;
    await wait(ASK_AGAIN_MS, signal);
  }
}

/** @returns why no batch should begin now, in words; undefined when one may */
async function findObstacle(
  session: Session,
  tables: { source: string; target: string },
): Promise<string | undefined> {
  const [found] = await runSql<{ lag_ms: number; queued_sessions: number }>(
    session,
    'archive/obstacles.sql',
    tables,
  );
  if (found === undefined) return undefined;
  if (found.lag_ms > MAX_LAG_MS)
    return `a replica lags by ${formatDuration(found.lag_ms)}; wanted at most ${formatDuration(MAX_LAG_MS)}`;
  if (found.queued_sessions > 0)
    return `other sessions (${found.queued_sessions}) wait for a lock on ${tables.source} or ${tables.target}`;
  return undefined;
}

/** Whether other programs use the database, now or a few seconds ago. */
export async function isDatabaseShared(session: Session): Promise<boolean> {
  const [found] = await runSql<{ active_sessions: number }>(
    session,
    'archive/active_sessions.sql',
    { active_within: spanForSql(ACTIVE_WITHIN_MS) },
  );
  return (found?.active_sessions ?? 0) > 0;
}

/** @returns what this role cannot see of others, so that a move does not slow down for them; undefined: nothing */
export async function findBlindSpot(
  sql: Sql,
): Promise<{ message: string; hasReplicas: boolean } | undefined> {
  const [row] = await runSql<{ role: string; sees_others: boolean; replicas: number }>(
    sql,
    'archive/sees_others.sql',
  );
  if (row === undefined || row.sees_others) return undefined;
  return {
    message:
      `Role ${row.role} sees neither replica lag nor other roles' sessions, so the move does not slow down for them: ` +
      `grant pg_monitor to ${quote(row.role)}`,
    hasReplicas: row.replicas > 0,
  };
}

/** Describes the transactions that have been open for five minutes or more: VACUUM removes nothing newer. */
export async function findOldTransactions(sql: Sql): Promise<string[]> {
  const rows = await runSql<{ transaction: string }>(sql, 'archive/old_transactions.sql', {
    older_than: spanForSql(OLD_MS),
  });
  return rows.map((row) => row.transaction);
}
