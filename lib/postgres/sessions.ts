import { EventEmitter, once } from 'node:events';
import { allowWaiters } from '../base/mod.ts';
import { type Database, isConnectionLost, type Session } from './connection.ts';

/** Sessions that are used again, as many as the server has room for. */
export interface SessionPool {
  /**
   * Takes an idle session or opens one. Where the server has no room for another one, waits until
   * a session of this pool is free.
   * @throws the signal's reason; the server's error when no session of this pool is in use
   */
  acquire(signal: AbortSignal): Promise<Session>;
  /** Returns a session whose connection is still good. */
  release(session: Session): void;
  /** Returns a session that can no longer be used. */
  discard(session: Session): void;
}

/** Creates an empty pool. It opens a session only when one is needed. */
export function createSessionPool(database: Pick<Database, 'openSession'>): SessionPool {
  const idle: Session[] = [];
  const returns = new EventEmitter().setMaxListeners(0);
  let inUse = 0;
  let limit = Number.POSITIVE_INFINITY;
  /** Only the first session is opened with patience. Later ones wait, or they would take its connection. */
  let openingFirst: Promise<void> | undefined;

  /** @returns undefined where the server has no room for another session */
  const open = async (): Promise<Session | undefined> => {
    const isAlone = inUse === 0;
    inUse += 1;
    const session = database.openSession(isAlone ? undefined : 0);
    try {
      await session`select 1`;
      return session;
    } catch (error) {
      inUse -= 1;
      session.end({ timeout: 0 }).catch(() => {});
      if (inUse === 0 || !isServerFull(error)) throw error;
      limit = inUse;
      return undefined;
    }
  };

  return {
    acquire: async (signal) => {
      allowWaiters(signal);
      while (true) {
        signal.throwIfAborted();
        const used = idle.pop();
        if (used) {
          inUse += 1;
          return used;
        }
        if (openingFirst) {
          await openingFirst;
        } else if (inUse >= limit) {
          await once(returns, 'return', { signal }).catch(() => {});
        } else {
          const isFirst = inUse === 0;
          const opening = open();
          if (isFirst) {
            openingFirst = Promise.allSettled([opening]).then(() => {
              openingFirst = undefined;
            });
          }
          const opened = await opening;
          if (opened) return opened;
        }
      }
    },
    release: (session) => {
      inUse -= 1;
      idle.push(session);
      returns.emit('return');
    },
    discard: (session) => {
      inUse -= 1;
      session.end({ timeout: 0 }).catch(() => {});
      returns.emit('return');
    },
  };
}

/** Besides PostgreSQL itself, a pooler may refuse (protocol_violation) or never answer. */
function isServerFull(error: unknown): boolean {
  return isConnectionLost(error) || (error as NodeJS.ErrnoException).code === '08P01';
}
