import { describeError, retry } from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';
import { type Database, disconnected, isConnectionLost, type Sql } from '../postgres/mod.ts';
import { eachInstrument } from '../store/mod.ts';
import { BatchSizer } from './batch-sizer.ts';
import { moveInstrument } from './instrument.ts';
import { type BatchSums, beginRun, endRun, type RunOutcome, sumBatches } from './log.ts';
import { explain, judge, type MoveResult, summarize, type Unfinished } from './move-result.ts';
import type { MoveEvents, MoveOptions, MoveRun } from './move-run.ts';
import type { InstrumentPlan } from './plan.ts';
import { findBlindSpot, findOldTransactions } from './throttle.ts';

/**
 * Moves what is planned from one tier to the other, one instrument after the other, and records how
 * it went. An instrument that fails, or that another run works on, does not stop the others. A
 * signal ends the run between two batches.
 * @throws KlinekeepError (69) or a connection's error when PostgreSQL does not come back
 */
export async function runMove(
  database: Database,
  plans: readonly InstrumentPlan[],
  options: MoveOptions,
  events: MoveEvents,
): Promise<MoveResult> {
  const { signal } = options;
  await warnBeforehand(database.sql, events);
  const run = await startRun(database.sql, options, events);
  const unfinished: Unfinished = { busy: [], failed: [], stopped: [] };
  try {
    await moveInstruments(database, plans, run, unfinished);
  } catch (error) {
    if (!signal.aborted) {
      await closeRun(database, run.id, 'failed', describeError(error));
      throw error;
    }
  }
  const outcome = judge(unfinished, signal.aborted);
  const sums = await closeRun(database, run.id, outcome, explain(unfinished, signal));
  return { ...summarize(run, plans, outcome, sums), ...unfinished };
}

async function warnBeforehand(sql: Sql, { onMessage }: MoveEvents): Promise<void> {
  for (const transaction of await findOldTransactions(sql))
    onMessage(
      'warn',
      `${transaction}: until it ends, VACUUM cannot free the space of the moved rows`,
    );
  const blindSpot = await findBlindSpot(sql);
  if (blindSpot) onMessage(blindSpot.hasReplicas ? 'warn' : 'info', blindSpot.message);
}

async function startRun(sql: Sql, options: MoveOptions, events: MoveEvents): Promise<MoveRun> {
  const { direction, range, batchRows, gentle, maxRuntimeMs } = options;
  const deadlineMs = performance.now() + (maxRuntimeMs ?? Number.POSITIVE_INFINITY);
  return {
    id: await beginRun(sql, direction, direction === 'archive' ? { toMs: range.toMs } : range),
    ...{ options, events, deadlineMs },
    sizer: new BatchSizer({ maxRows: batchRows, gentle }),
    unanswered: new Map(),
    begun: new Set(),
  };
}

async function moveInstruments(
  database: Database,
  plans: readonly InstrumentPlan[],
  run: MoveRun,
  { busy, failed, stopped }: Unfinished,
): Promise<void> {
  const { onMessage } = run.events;
  const { signal } = run.options;
  const addFailure = ({ symbol }: Instrument, error: unknown) => {
    failed.push({ symbol, error });
    onMessage('error', `${symbol}: ${describeError(error)}`);
  };
  // A server that does not come back for one instrument is gone for all of them.
  const serverGone = new AbortController();
  await eachInstrument(
    database,
    plans.map(({ instrument }) => instrument),
    {
      concurrency: 1,
      signal: AbortSignal.any([signal, serverGone.signal]),
      onBusy: ({ symbol }) => {
        busy.push(symbol);
        onMessage('warn', `${symbol}: skipped, another run has locked it`);
      },
      onFailed: (instrument, _, error) => {
        addFailure(instrument, error);
        if (isConnectionLost(error)) serverGone.abort(error);
      },
    },
    async (task) => {
      const { symbol } = task.instrument;
      try {
        const reason = await moveInstrument(run, plans[task.index] as InstrumentPlan, task);
        if (reason === undefined) return;
        stopped.push({ symbol, reason });
        onMessage('warn', `${symbol}: stopped, ${reason}`);
      } catch (error) {
        // After a signal eachInstrument reports no failures, but one that came before counts.
        if (signal.aborted && error !== signal.reason && !isConnectionLost(error))
          addFailure(task.instrument, error);
        throw error;
      }
    },
  );
  serverGone.signal.throwIfAborted();
}

/** Records how the run ended, over a new connection if the pool's has been lost. */
async function closeRun(
  database: Database,
  runId: string,
  outcome: RunOutcome,
  detail: string,
): Promise<Map<number, BatchSums>> {
  return await retry(
    async () => {
      const session = disconnected(database.sql).aborted ? database.openSession() : database.sql;
      await endRun(session, runId, outcome, detail);
      return await sumBatches(session, runId);
    },
    { isTransient: isConnectionLost },
  );
}
