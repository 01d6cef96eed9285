import { retry } from '../base/mod.ts';
import { TransientError } from './answer.ts';

/** Calls `work` again, with growing waits, while it fails with a TransientError. */
export function retryTransient<T>(
  work: () => Promise<T>,
  { signal, onWait }: { signal: AbortSignal; onWait: (message: string) => void },
): Promise<T> {
  return retry(work, {
    signal,
    isTransient: (error) => error instanceof TransientError,
    onRetry: (error, delayMs) =>
      onWait(`${(error as Error).message} Trying again in ${(delayMs / 1000).toFixed(1)} s`),
  });
}
