import { formatDuration, spanForSql, wait } from '../base/mod.ts';
import { quote, runSql, type Session, type Sql } from '../postgres/mod.ts';
import { StoppedEarly } from './move-run.ts';
import type { Tables } from './tables.ts';

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
 * @returns whether other programs use the database
 * @throws StoppedEarly at the deadline, and after five minutes of waiting; the signal's reason
 */
export async function waitForOthers(
  session: Session,
  tables: Tables,
  options: { deadlineMs: number; signal: AbortSignal; onWait: (reason: string) => void },
): Promise<boolean> {
  const { deadlineMs, signal, onWait } = options;
  const giveUpMs = performance.now() + MAX_WAIT_MS;
  let isWaiting = false;
  while (true) {
    signal.throwIfAborted();
    if (performance.now() >= deadlineMs) throw new StoppedEarly(StoppedEarly.TIME_IS_UP);
    const { reason, isShared } = await lookAtOthers(session, tables);
    if (reason === undefined) return isShared;
    if (performance.now() >= giveUpMs) throw new StoppedEarly(reason);
    if (!isWaiting) onWait(reason);
    isWaiting = true;
    await wait(ASK_AGAIN_MS, signal);
  }
}

/**
 * Asks the server how others fare.
 * @returns `reason`: why no batch should begin now, in words; `isShared`: whether other programs use
 * the database, now or a few seconds ago
 */
export async function lookAtOthers(
  session: Session,
  tables: Tables,
): Promise<{ reason: string | undefined; isShared: boolean }> {
  const [found] = await runSql<{
    lag_ms: number;
    queued_sessions: number;
    active_sessions: number;
  }>(session, 'archive/others.sql', { ...tables, active_within: spanForSql(ACTIVE_WITHIN_MS) });
  if (found === undefined) throw new Error('sql/archive/others.sql returned no row');
  let reason: string | undefined;
  if (found.lag_ms > MAX_LAG_MS)
    reason = `a replica lags by ${formatDuration(found.lag_ms)}; wanted at most ${formatDuration(MAX_LAG_MS)}`;
  else if (found.queued_sessions > 0)
    reason = `other sessions (${found.queued_sessions}) wait for a lock on ${tables.source} or ${tables.target}`;
  return { reason, isShared: found.active_sessions > 0 };
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
