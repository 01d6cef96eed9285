import { allowWaiters } from './retry.ts';

/**
 * Works on several items at a time, and starts them in order. After the first failure it starts no
 * more, waits for those that run, and throws the failure, so nothing goes on in the background.
 */
export async function inParallel<T>(
  items: Iterable<T>,
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const worker = async () => {
    while (failures.length === 0) {
      const next = iterator.next();
      if (next.done) return;
      await work(next.value).catch((error) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  if (failures.length > 0) throw failures[0];
}

/** A limited number of slots, given out in the order of the requests. */
export interface Semaphore {
  /**
   * Waits for a free slot. When the signal is aborted, the slot is released too.
   * @returns releases the slot
   * @throws the signal's reason when it is aborted
   */
  acquire(signal: AbortSignal): Promise<() => void>;
}

export function createSemaphore(slots: number): Semaphore {
  const waiting = new Map<() => void, AbortSignal>();
  let free = slots;

  const admitWaiting = () => {
    for (const [admit, signal] of waiting) {
      if (free === 0) return;
      // Its own listener has not run yet.
      if (signal.aborted) continue;
      waiting.delete(admit);
      free -= 1;
      admit();
    }
  };

  return {
    acquire: (signal) =>
      new Promise((resolve, reject) => {
        signal.throwIfAborted();
        let holdsSlot = false;
        const release = () => {
          signal.removeEventListener('abort', onAbort);
          if (!holdsSlot) return;
          holdsSlot = false;
          free += 1;
          admitWaiting();
        };
        const admit = () => {
          holdsSlot = true;
          resolve(release);
        };
        const onAbort = () => {
          waiting.delete(admit);
          release();
          reject(signal.reason);
        };
        allowWaiters(signal);
        signal.addEventListener('abort', onAbort, { once: true });
        waiting.set(admit, signal);
        admitWaiting();
      }),
  };
}
