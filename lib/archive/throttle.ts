import { setTimeout as sleep } from 'node:timers/promises';
import { formatDuration, spanForSql, wait } from '../base/mod.ts';
import { type Database, lossOf, quote, runSql, type Session, type Sql } from '../postgres/mod.ts';

const LOOK_EVERY_MS = 500;
const MAX_LAG_MS = 10_000;
/** Who asked for something this long ago is likely to ask again. */
const ACTIVE_WITHIN_MS = 5_000;
const OLD_MS = 5 * 60_000;

/** Who is moving what: others that wait for these processes or for these tables are looked for. */
export interface Mover {
  /** Server processes. */
  pids: readonly number[];
  source: string;
  target: string;
}

/** Looks twice a second, over a connection of its own, whether others suffer from the move. */
export interface Pressure {
  /** What to watch from now on. Resolves after a first look, or when that takes too long. */
  watch(mover: Mover): Promise<void>;
  /** Why no batch should begin now, in words. */
  readonly reason: string | undefined;
  /** Whether sessions other than klinekeep's use the database, now or a few seconds ago. */
  readonly isShared: boolean;
  /** Whether a session has waited for the mover since this was last asked. */
  takeBlocked(): boolean;
  stop(): void;
}

export function watchPressure(database: Database): Pressure {
  const stopped = new AbortController();
  let mover: Mover | undefined;
  let session: Session | undefined;
  let lost = new Promise<void>(() => {});
  let reason: string | undefined;
  let blocked = false;
  let isShared = false;

  const look = async (watched: Mover) => {
    // Another one when the server was restarted.
    if (session === undefined || lossOf(session).aborted) {
      session = database.openSession(0);
      const loss = lossOf(session);
      lost = new Promise((settle) =>
        loss.addEventListener('abort', () => settle(), { once: true }),
      );
    }
    const [found] = await runSql<{
      lag_ms: number;
      blocked_sessions: number;
      queued_sessions: number;
      active_sessions: number;
    }>(session, 'archive/pressure.sql', {
      ...watched,
      pids: watched.pids.join(','),
      active_within: spanForSql(ACTIVE_WITHIN_MS),
    });
    if (found === undefined) return;
    isShared = found.active_sessions > 0;
    if (found.blocked_sessions > 0) blocked = true;
    if (found.lag_ms > MAX_LAG_MS)
      reason = `a replica lags by ${formatDuration(found.lag_ms)}; wanted at most ${formatDuration(MAX_LAG_MS)}`;
    else if (found.queued_sessions > 0)
      reason = `${found.queued_sessions} sessions wait for a lock on ${watched.source} or ${watched.target}`;
    else reason = undefined;
  };

  // Not being able to look is no reason to stop; if the server is gone the move finds out itself.
  const tryToLook = (watched: Mover) => Promise.race([look(watched).catch(() => {}), lost]);

  const go = async () => {
    while (!stopped.signal.aborted) {
      await wait(LOOK_EVERY_MS, stopped.signal).catch(() => {});
      if (!stopped.signal.aborted && mover !== undefined) await tryToLook(mover);
    }
  };
  void go();

  return {
    watch: async (next) => {
      mover = next;
      await Promise.race([tryToLook(next), sleep(LOOK_EVERY_MS, undefined, { ref: false })]);
    },
    get isShared() {
      return isShared;
    },
    get reason() {
      return reason;
    },
    takeBlocked: () => {
      const was = blocked;
      blocked = false;
      return was;
    },
    stop: () => stopped.abort(),
  };
}

/** What a move cannot take into account as this role, in words; undefined: nothing. */
export async function blindSpot(
  sql: Sql,
): Promise<{ message: string; hasReplicas: boolean } | undefined> {
  const [row] = await runSql<{ role: string; sees_others: boolean; replicas: number }>(
    sql,
    'archive/sees_others.sql',
  );
  if (row === undefined || row.sees_others) return undefined;
  return {
    message:
      `role ${row.role} sees neither replica lag nor what other roles' sessions do, so it does not slow down for them: ` +
      `grant pg_monitor to ${quote(row.role)}`,
    hasReplicas: row.replicas > 0,
  };
}

/** Transactions that keep VACUUM from cleaning up, in words: those open for five minutes or more. */
export async function oldSnapshots(sql: Sql): Promise<string[]> {
  const rows = await runSql<{ holder: string }>(sql, 'archive/old_snapshots.sql', {
    older_than: spanForSql(OLD_MS),
  });
  return rows.map((row) => row.holder);
}
