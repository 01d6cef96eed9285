import { describeError, EXIT, type ExitCode, KlinekeepError, retry } from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';
import { type Database, isConnectionLost, lossOf } from '../postgres/mod.ts';
import { eachInstrument } from '../store/mod.ts';
import { createMover } from './instrument.ts';
import { type BatchSums, beginRun, endRun, type RunOutcome, sumBatches } from './log.ts';
import type { RunEvents, RunOptions } from './options.ts';
import type { Due } from './plan.ts';
import { tablesOf } from './tables.ts';
import { blindSpot, oldSnapshots, watchPressure } from './throttle.ts';

/** What one run did. */
export interface MoveRun {
  runId: string;
  tables: ({ instrument: Instrument; source: string; target: string } & BatchSums)[];
  rows: number;
  rowsLeft: number;
  outcome: RunOutcome;
  /** Symbols that another run works on. */
  held: string[];
  failed: { symbol: string; error: string }[];
  /** Stopped before all was moved, and why. */
  stopped: { symbol: string; reason: string }[];
  exitCode: ExitCode;
}

/**
 * Moves what is due from one tier to the other, one instrument after the other, and writes down
 * how it went. One that fails, or that another run holds, does not stop the others. A signal ends
 * it between two batches, as any other reason to stop.
 * @throws KlinekeepError (69) or a connection's error when PostgreSQL is gone for good
 */
export async function runMove(
  database: Database,
  dues: readonly Due[],
  options: RunOptions,
  events: RunEvents = {},
): Promise<MoveRun> {
  const { direction, range, signal } = options;
  const untilMs = performance.now() + (options.maxRuntimeMs ?? Number.POSITIVE_INFINITY);
  for (const holder of await oldSnapshots(database.sql)) {
    events.onWarning?.(`${holder}: until it ends, VACUUM cannot remove what is moved now`);
  }
  const blind = await blindSpot(database.sql);
  if (blind) (blind.hasReplicas ? events.onWarning : events.onNote)?.(blind.message);
  const runId = await beginRun(
    database.sql,
    direction,
    direction === 'archive' ? { toMs: range.toMs } : range,
  );
  const undone: Pick<MoveRun, 'held' | 'failed' | 'stopped'> = {
    held: [],
    failed: [],
    stopped: [],
  };
  const errors: unknown[] = [];
  const noteFailure = (instrument: Instrument, error: unknown) => {
    errors.push(error);
    undone.failed.push({ symbol: instrument.symbol, error: describeError(error) });
    events.onFailed?.(instrument, error);
  };
  // A server that is gone for good is gone for all instruments.
  const gone = new AbortController();
  const pressure = watchPressure(database);
  const work = createMover({ dues, options, events, runId, untilMs, pressure });
  try {
    await eachInstrument(
      database,
      dues.map(({ instrument }) => instrument),
      {
        concurrency: 1,
        signal: AbortSignal.any([signal, gone.signal]),
        onHeld: (instrument) => {
          undone.held.push(instrument.symbol);
          events.onHeld?.(instrument);
        },
        onFailed: (instrument, _, error) => {
          noteFailure(instrument, error);
          if (isConnectionLost(error)) gone.abort(error);
        },
      },
      async (turn) => {
        const reason = await work(turn).catch((error) => {
          // Ending a run does not make up for what went wrong before.
          if (signal.aborted && error !== signal.reason && !isConnectionLost(error))
            noteFailure(turn.instrument, error);
          throw error;
        });
        if (reason === undefined) return;
        undone.stopped.push({ symbol: turn.instrument.symbol, reason });
        events.onStopped?.(turn.instrument, reason);
      },
    );
    gone.signal.throwIfAborted();
  } catch (error) {
    if (!signal.aborted) {
      await close(database, runId, 'failed', describeError(error));
      throw error;
    }
  } finally {
    pressure.stop();
  }

  const outcome = outcomeOf(undone, errors, signal.aborted);
  const detail = [
    ...undone.failed.map(({ symbol, error }) => `${symbol}: ${error}`),
    ...undone.stopped.map(({ symbol, reason }) => `${symbol}: ${reason}`),
    ...undone.held.map((symbol) => `${symbol}: held by another run`),
    ...(signal.aborted ? [describeError(signal.reason)] : []),
  ];
  const sums = await close(database, runId, outcome, detail.join('\n'));
  const tables = dues.flatMap(({ instrument }) => {
    const sum = sums.get(instrument.id);
    return sum ? [{ instrument, ...tablesOf(instrument, direction), ...sum }] : [];
  });
  const settled = tables.reduce((sum, table) => sum + table.movedRows + table.droppedRows, 0);
  const planned = dues.reduce((sum, due) => sum + due.rows, 0);
  return {
    runId,
    tables,
    rows: tables.reduce((sum, table) => sum + table.movedRows, 0),
    rowsLeft: outcome === 'done' ? 0 : Math.max(0, planned - settled),
    outcome,
    ...undone,
    exitCode: exitCodeOf(outcome),
  };
}

/** Over a connection of its own if the pool's have been lost. */
async function close(
  database: Database,
  runId: string,
  outcome: RunOutcome,
  detail: string,
): Promise<Map<number, BatchSums>> {
  return await retry(
    async () => {
      const session = lossOf(database.sql).aborted ? database.openSession() : database.sql;
      await endRun(session, runId, outcome, detail);
      return await sumBatches(session, runId);
    },
    { isTransient: isConnectionLost },
  );
}

function outcomeOf(
  { held, stopped }: Pick<MoveRun, 'held' | 'stopped'>,
  errors: readonly unknown[],
  isAborted: boolean,
): RunOutcome {
  const isRefusal = (error: unknown) =>
    error instanceof KlinekeepError && error.exitCode === EXIT.config;
  if (errors.length > 0) return errors.every(isRefusal) ? 'refused' : 'failed';
  return isAborted || held.length > 0 || stopped.length > 0 ? 'work remaining' : 'done';
}

function exitCodeOf(outcome: RunOutcome): ExitCode {
  if (outcome === 'done') return EXIT.done;
  return outcome === 'work remaining' ? EXIT.later : EXIT.failed;
}
