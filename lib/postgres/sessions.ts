import { allowWaiters } from '../base/mod.ts';
import { type Database, isConnectionLost, type Session } from './connection.ts';

/** Sessions that are used again, as many as the server gives. */
export interface SessionPool {
  /**
   * An idle session, or a new one. Where the server has no room for one more, it waits until a
   * session of this pool is free.
   * @throws the signal's reason; what the server says when none of this pool's is in use.
   */
  acquire(signal: AbortSignal): Promise<Session>;
  /** Gives a good one back. */
  release(session: Session): void;
  /** Gives back one that is of no use any more. */
  discard(session: Session): void;
}

export function createSessionPool(database: Pick<Database, 'openSession'>): SessionPool {
  const idle: Session[] = [];
  const waiting = new Set<() => void>();
  let inUse = 0;
  let limit = Number.POSITIVE_INFINITY;

  const wakeOne = () => {
    const [first] = waiting;
    if (first === undefined) return;
    waiting.delete(first);
    first();
  };
  const turn = (signal: AbortSignal) =>
    new Promise<void>((settle, reject) => {
      signal.throwIfAborted();
      const onAbort = () => {
        waiting.delete(onTurn);
        reject(signal.reason);
      };
      const onTurn = () => {
        signal.removeEventListener('abort', onAbort);
        settle();
      };
      allowWaiters(signal);
      signal.addEventListener('abort', onAbort, { once: true });
      waiting.add(onTurn);
    });

  return {
    acquire: async (signal) => {
      while (true) {
        const used = idle.pop();
        if (used) {
          inUse += 1;
          return used;
        }
        if (inUse < limit) {
          const isAlone = inUse === 0;
          inUse += 1;
          const session = database.openSession(isAlone ? undefined : 0);
          try {
            await session`select 1`;
            return session;
          } catch (error) {
            inUse -= 1;
            session.end({ timeout: 0 }).catch(() => {});
            if (inUse === 0 || !hasNoRoom(error)) throw error;
            limit = inUse;
          }
        }
        await turn(signal);
      }
    },
    release: (session) => {
      inUse -= 1;
      idle.push(session);
      wakeOne();
    },
    discard: (session) => {
      inUse -= 1;
      session.end({ timeout: 0 }).catch(() => {});
      wakeOne();
    },
  };
}

/** Besides PostgreSQL, a pooler may refuse (protocol_violation) or let us wait. */
function hasNoRoom(error: unknown): boolean {
  return isConnectionLost(error) || (error as NodeJS.ErrnoException).code === '08P01';
}
