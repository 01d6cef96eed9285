import { describeError, EXIT, type ExitCode, KlinekeepError } from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';

/** How the work on one instrument ended. `busy`: another run works on it, so it was skipped. */
export type InstrumentResult<T> =
  | { instrument: Instrument; state: 'done'; result: T }
  | { instrument: Instrument; state: 'busy' }
  | { instrument: Instrument; state: 'failed'; error: unknown };

/** 1 when an instrument failed, 75 when one was busy or has to be tried again later, otherwise 0. */
export function chooseExitCode(results: readonly InstrumentResult<unknown>[]): ExitCode {
  const failed = results.filter((result) => result.state === 'failed');
  const isLater = (error: unknown) =>
    error instanceof KlinekeepError && error.exitCode === EXIT.later;
  if (failed.some(({ error }) => !isLater(error))) return EXIT.failed;
  const isBusy = results.some(({ state }) => state === 'busy');
  return failed.length > 0 || isBusy ? EXIT.later : EXIT.done;
}

/** The results by how they ended, for a summary: what was done, and the symbols of the others. */
export function sortResults<T>(results: readonly InstrumentResult<T>[]) {
  return {
    done: results.flatMap((each) => (each.state === 'done' ? [each.result] : [])),
    busy: results.flatMap((each) => (each.state === 'busy' ? [each.instrument.symbol] : [])),
    failed: results.flatMap((each) =>
      each.state === 'failed'
        ? [{ symbol: each.instrument.symbol, error: describeError(each.error) }]
        : [],
    ),
  };
}

/** When one instrument was worked on and failed, throws its error: the run fails with its exit code and hint. */
export function throwIfOnlyFailure(results: readonly InstrumentResult<unknown>[]): void {
  const [only, ...others] = results;
  if (others.length === 0 && only?.state === 'failed') throw only.error;
}
