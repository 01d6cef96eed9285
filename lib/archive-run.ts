import { moveRange } from './archive.ts';
import {
  type BatchSums,
  beginRun,
  committedRows,
  endRun,
  type RunOutcome,
  sumBatches,
} from './archive-log.ts';
import { createPace } from './archive-pace.ts';
import type { Due, MoveRequest } from './archive-plan.ts';
import { oldSnapshots, watchPressure } from './archive-pressure.ts';
import { prepareTables, tablesOf, vacuumTables } from './archive-tables.ts';
import { type Database, isConnectionLost, type Session } from './db.ts';
import { eachInstrument, type Turn } from './each-instrument.ts';
import { describeError, EXIT, type ExitCode, KlinekeepError } from './errors.ts';
import { subtractRanges } from './gaps.ts';
import type { Instrument } from './instruments.ts';
import type { Interval } from './intervals.ts';
import { keepRestored, keptRanges } from './restored-ranges.ts';
import { retry } from './retry.ts';
import { sqlState } from './sql-file.ts';

export interface RunOptions extends MoveRequest {
  /** Candles a batch holds at most. */
  batchRows: number;
  /** Pause as long as each batch took. */
  gentle: boolean;
  /** Begin no batch after this long. Default: no end. */
  maxRuntimeMs?: number | undefined;
  /** Of restore: until when archive leaves the range alone, Unix ms. */
  keepUntilMs?: number;
  signal: AbortSignal;
}

/** What happens meanwhile, for who wants to show it. */
export interface RunEvents {
  onBatch?: (
    instrument: Instrument,
    batch: { interval: Interval; rows: number; untilMs: number },
  ) => void;
  onHeld?: (instrument: Instrument) => void;
  onFailed?: (instrument: Instrument, error: unknown) => void;
  /** Stopped before all was moved. */
  onStopped?: (instrument: Instrument, reason: string) => void;
  onWarning?: (message: string) => void;
}

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

/** Waiting longer for a lock would make others wait behind us. */
const LOCK_TIMEOUT_MS = 1_000;
const LOCK_NOT_AVAILABLE = '55P03';

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
          errors.push(error);
          undone.failed.push({ symbol: instrument.symbol, error: describeError(error) });
          events.onFailed?.(instrument, error);
          if (isConnectionLost(error)) gone.abort(error);
        },
      },
      async (turn) => {
        const reason = await work(turn);
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

interface Mover {
  dues: readonly Due[];
  options: RunOptions;
  events: RunEvents;
  runId: string;
  untilMs: number;
  pressure: ReturnType<typeof watchPressure>;
}

/** @returns the work on one instrument, which says why it stopped, if it did before the end */
function createMover({ dues, options, events, runId, untilMs, pressure }: Mover) {
  const { direction } = options;
  const pace = createPace({ maxRows: options.batchRows, gentle: options.gentle });
  /** The batch that was last begun, until its answer has come. */
  let unanswered: { id: string; instrument: Instrument; interval: Interval } | undefined;
  const movedIn = new Set<Instrument>();

  const lookUpUnanswered = async (session: Session) => {
    if (unanswered === undefined) return;
    const { id, instrument, interval } = unanswered;
    const rows = await committedRows(session, id);
    unanswered = undefined;
    events.onWarning?.(
      `${instrument.symbol} ${interval}: the connection was lost within a batch; looked up: ` +
        (rows === undefined ? 'it was rolled back' : `it was committed, ${rows} candles`),
    );
    if (rows !== undefined) {
      movedIn.add(instrument);
      events.onBatch?.(instrument, { interval, rows, untilMs: Date.now() });
    }
  };

  const moveAll = async ({ session, instrument, signal }: Turn): Promise<string | undefined> => {
    const due = dues.find((each) => each.instrument === instrument);
    if (due === undefined) return undefined;
    if (direction === 'restore' && options.keepUntilMs !== undefined) {
      const ranges = due.ranges.map(({ interval }) => ({ interval, range: options.range }));
      await keepRestored(session, instrument, ranges, { untilMs: options.keepUntilMs, runId });
    }
    const columns = await retry(() => prepareTables(session, instrument), {
      isTransient: (error) => sqlState(error) === LOCK_NOT_AVAILABLE,
      signal,
    });
    // Asked again under the lock: a restore may have ended since the plan was made.
    const kept = direction === 'archive' ? await keptRanges(session, instrument) : [];
    for (const { interval, range } of due.ranges) {
      const holes = kept.filter((each) => each.interval === interval).map((each) => each.range);
      for (const part of subtractRanges([range], holes)) {
        const reason = await moveRange(session, { instrument, interval }, part, {
          ...{ runId, direction, columns, pace, pressure, untilMs, signal },
          onBegin: (id) => {
            unanswered = { id, instrument, interval };
          },
          onBatch: (batch) => {
            unanswered = undefined;
            movedIn.add(instrument);
            const rows = batch.movedRows + batch.droppedRows;
            events.onBatch?.(instrument, { interval, rows, untilMs: batch.untilMs });
          },
          onBackOff: (reason) => events.onWarning?.(`${instrument.symbol}: waiting, ${reason}`),
        });
        if (reason !== undefined) return reason;
      }
    }
    return undefined;
  };

  return async (turn: Turn): Promise<string | undefined> => {
    if (performance.now() >= untilMs) return TIME_IS_UP;
    const { session, instrument } = turn;
    pressure.watch({ pid: await setUp(session), ...tablesOf(instrument, direction) });
    await lookUpUnanswered(session);
    const reason = await moveAll(turn).catch((error) => {
      // Only a lost connection leaves it open what became of a batch.
      if (!isConnectionLost(error)) unanswered = undefined;
      throw error;
    });
    if (movedIn.has(instrument)) {
      await vacuumTables(session, instrument).catch((error) => {
        if (isConnectionLost(error)) throw error;
        events.onWarning?.(`${instrument.symbol}: not vacuumed: ${describeError(error)}`);
      });
    }
    return reason;
  };
}

const TIME_IS_UP = 'the time is up';

/** Settings of a session that moves. @returns the id of its server process */
async function setUp(session: Session): Promise<number> {
  const [row] = await session`
    select
      set_config('lock_timeout', ${`${LOCK_TIMEOUT_MS}ms`}, false),
      -- Many short statements: compiling them costs more than it gains.
      set_config('jit', 'off', false),
      -- A batch that a crash of the server takes back is taken back as a whole. endRun waits for all.
      set_config('synchronous_commit', 'off', false),
      pg_backend_pid() as pid`;
  return row?.pid;
}

/** Over a connection of its own: the others may have been lost. */
async function close(
  database: Database,
  runId: string,
  outcome: RunOutcome,
  detail: string,
): Promise<Map<number, BatchSums>> {
  return await retry(
    async () => {
      const session = database.openSession();
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
