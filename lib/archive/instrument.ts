import { describeError, retry } from '../base/mod.ts';
import { type Instrument, type Interval, subtractRanges } from '../market/mod.ts';
import { isConnectionLost, type Session, SQLSTATE, sqlState } from '../postgres/mod.ts';
import type { Turn } from '../store/mod.ts';
import { committedRows } from './log.ts';
import type { RunEvents, RunOptions } from './options.ts';
import { createPace } from './pace.ts';
import type { Due } from './plan.ts';
import { moveRange } from './range.ts';
import { keepRestored, keptRanges } from './restored-ranges.ts';
import { prepareTables, tablesOf, vacuumTables } from './tables.ts';
import type { Pressure } from './throttle.ts';

/** Waiting longer for a lock would make others wait behind us. */
const LOCK_TIMEOUT_MS = 1_000;
const TIME_IS_UP = 'the time is up';

interface Mover {
  dues: readonly Due[];
  options: RunOptions;
  events: RunEvents;
  runId: string;
  untilMs: number;
  pressure: Pressure;
}

/** @returns the work on one instrument, which says why it stopped, if it did before the end */
export function createMover({ dues, options, events, runId, untilMs, pressure }: Mover) {
  const { direction } = options;
  const pace = createPace({ maxRows: options.batchRows, gentle: options.gentle });
  /** Batches that were begun, by their ids, until the answer has come. */
  const unanswered = new Map<string, { instrument: Instrument; interval: Interval }>();
  const begun = new Set<Instrument>();
  const movedIn = new Set<Instrument>();

  const lookUpUnanswered = async (session: Session) => {
    for (const [id, { instrument, interval }] of unanswered) {
      const rows = await committedRows(session, id);
      unanswered.delete(id);
      events.onWarning?.(
        `${instrument.symbol} ${interval}: the connection was lost within a batch; looked up: ` +
          (rows === undefined ? 'it was rolled back' : `it was committed, ${rows} candles`),
      );
      if (rows === undefined) continue;
      movedIn.add(instrument);
      events.onBatch?.(instrument, { interval, rows, untilMs: Date.now() });
    }
  };

  const moveAll = async (
    { session, instrument, signal }: Turn,
    due: Due,
    helpers: readonly Session[],
  ): Promise<string | undefined> => {
    if (direction === 'restore' && options.keepUntilMs !== undefined) {
      const ranges = due.ranges.map(({ interval }) => ({ interval, range: options.range }));
      await keepRestored(session, instrument, ranges, { untilMs: options.keepUntilMs, runId });
    }
    const columns = await retry(() => prepareTables(session, instrument), {
      isTransient: isLocked,
      signal,
    }).catch((error) => {
      if (isLocked(error)) return undefined;
      throw error;
    });
    if (columns === undefined) return 'another session has locked its tables';
    // Asked again under the lock: a restore may have ended since the plan was made.
    const kept = direction === 'archive' ? await keptRanges(session, instrument) : [];
    for (const { interval, range } of due.ranges) {
      const holes = kept.filter((each) => each.interval === interval).map((each) => each.range);
      for (const part of subtractRanges([range], holes)) {
        const reason = await moveRange([session, ...helpers], { instrument, interval }, part, {
          ...{ runId, direction, columns, pace, pressure, untilMs, signal },
          onBegin: (id) => unanswered.set(id, { instrument, interval }),
          onRolledBack: (id) => unanswered.delete(id),
          onBatch: (batch) => {
            unanswered.delete(batch.id);
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
    const pid = await setUp(session);
    await lookUpUnanswered(session);
    const due = dues.find((each) => each.instrument === instrument);
    if (due === undefined) return undefined;
    if (due.refused !== undefined) throw due.refused;
    const tables = tablesOf(instrument, direction);
    await pressure.watch({ pids: [pid], ...tables });
    // Two batches at a time use two cores, so others must not need one. One batch, or a gentle run, is
    // not worth a connection; nor does one that was lost invite another.
    const isLong = due.rows > options.batchRows && !options.gentle && !pressure.isShared;
    const helpers = isLong && !begun.has(instrument) ? await turn.openHelper() : [];
    begun.add(instrument);
    if (helpers.length > 0) {
      const pids = [pid, ...(await Promise.all(helpers.map(setUp)))];
      await pressure.watch({ pids, ...tables });
    }
    const reason = await moveAll(turn, due, helpers);
    if (movedIn.has(instrument)) {
      await vacuumTables(session, instrument, pressure.isShared ? session : helpers[0]).catch(
        (error) => {
          if (isConnectionLost(error)) throw error;
          events.onWarning?.(`${instrument.symbol}: not vacuumed: ${describeError(error)}`);
        },
      );
    }
    return reason;
  };
}

/** Settings of a session that moves. @returns the id of its server process */
async function setUp(session: Session): Promise<number> {
  const [row] = await session`
    select
      set_config('lock_timeout', ${`${LOCK_TIMEOUT_MS}ms`}, false),
      -- Many short statements: compiling them costs more than it gains.
      set_config('jit', 'off', false),
      -- VACUUM takes its time.
      (
        select count(set_config(name, '0', false))
        from pg_settings
        where name in ('statement_timeout', 'transaction_timeout')
      ),
      -- A batch that a crash of the server takes back is taken back as a whole. endRun waits for all.
      set_config('synchronous_commit', 'off', false),
      pg_backend_pid() as pid`;
  return row?.pid;
}

function isLocked(error: unknown): boolean {
  return sqlState(error) === SQLSTATE.lockNotAvailable;
}
