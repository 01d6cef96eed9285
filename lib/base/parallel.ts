import { allowWaiters } from './retry.ts';

/**
 * Works on items with several at a time, in their order. After the first failure none is begun
 * any more, those under way are waited for, and the failure is thrown: nothing runs on behind.
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

/** Lets in so many at a time, the others in the order in which they come. */
export interface Gate {
  /**
   * @returns what to call on leaving; who is let in has left too when the signal is aborted
   * @throws the signal's reason when it is aborted
   */
  enter(signal: AbortSignal): Promise<() => void>;
}

export function createGate(places: number): Gate {
  const waiting = new Map<() => void, AbortSignal>();
  let free = places;

  const letIn = () => {
    for (const [admit, signal] of waiting) {
      if (free === 0) return;
      if (signal.aborted) continue;
      waiting.delete(admit);
      free -= 1;
      admit();
    }
  };

  return {
    enter: (signal) =>
      new Promise((settle, reject) => {
        signal.throwIfAborted();
        let isInside = false;
        const leave = () => {
          signal.removeEventListener('abort', stop);
          if (!isInside) return;
          isInside = false;
          free += 1;
          letIn();
        };
        const admit = () => {
          isInside = true;
          settle(leave);
        };
        const stop = () => {
          waiting.delete(admit);
          leave();
          reject(signal.reason);
        };
        allowWaiters(signal);
        signal.addEventListener('abort', stop, { once: true });
        waiting.set(admit, signal);
        letIn();
      }),
  };
}

/** @returns a function that runs what it is given in the order of its calls, never two at once */
export function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return turn;
  };
}
