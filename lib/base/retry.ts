import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

export interface RetryOptions {
  /** The number of tries, including the first. Default 5. */
  attempts?: number;
  /** Longest wait before the second try; doubles each time. Default 500 ms. */
  firstDelayMs?: number;
  /** No wait is longer than this. Default 30 s. */
  maxDelayMs?: number;
  /** Which errors are worth another try. */
  isTransient: (error: unknown) => boolean;
  onRetry?: (error: unknown, delayMs: number, attempt: number) => void;
  signal?: AbortSignal;
}

/**
 * Calls `work` until it succeeds, with capped exponential backoff and full jitter: the wait is
 * drawn evenly from zero to the cap, so that many clients do not return at the same moment.
 * @throws the last error when the attempts are used up or the error is not transient; the
 * signal's reason when it is aborted while waiting.
 */
export async function retry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { attempts = 5, firstDelayMs = 500, maxDelayMs = 30_000, signal } = options;
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= attempts || signal?.aborted || !options.isTransient(error)) throw error;
      const delayMs = Math.random() * Math.min(maxDelayMs, firstDelayMs * 2 ** (attempt - 1));
      options.onRetry?.(error, delayMs, attempt);
      await wait(delayMs, signal);
    }
  }
}

/** Sleeps for `delayMs`. @throws the signal's reason as soon as it is aborted. */
export async function wait(delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal) allowWaiters(signal);
  try {
    await sleep(delayMs, undefined, signal ? { signal } : {});
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/** Waits for `work`, but no longer than until the signal is aborted. @throws the signal's reason then */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
  });
  if (signal.aborted) onAbort();
  allowWaiters(signal);
  signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Lets any number of listeners wait for one signal. Node warns of a leak from the eleventh on, but
 * here dozens may wait at once, and each stops listening when its wait ends.
 */
export function allowWaiters(signal: AbortSignal): void {
  setMaxListeners(0, signal);
}
