import { describeError, retry } from '../base/mod.ts';
import { isConnectionLost, type Session, SQLSTATE, sqlState } from '../postgres/mod.ts';
import type { Task } from '../store/mod.ts';
import { moveRange } from './batches.ts';
import { committedRows, hasBatches } from './log.ts';
import { type MoveRun, StoppedEarly } from './move-run.ts';
import type { InstrumentPlan } from './plan.ts';
import { keepRestored, type SeriesRange, subtractKept } from './restored-ranges.ts';
import { type Columns, prepareTables, tablesFor, vacuumTables } from './tables.ts';
import { lookAtOthers } from './throttle.ts';

/** A longer wait for a lock would make others wait behind this session. */
const LOCK_TIMEOUT_MS = 1_000;

/**
 * Moves what is planned of one instrument. Is called again, with another session, when the
 * connection was lost.
 * @returns why it stopped before all was moved, in words; undefined when all was moved
 * @throws KlinekeepError (78) when the tables do not fit each other, (1) when a batch is not proven;
 * the signal's reason; PostgreSQL's errors
 */
export async function moveInstrument(
  run: MoveRun,
  plan: InstrumentPlan,
  task: Task,
): Promise<string | undefined> {
  if (performance.now() >= run.deadlineMs) return StoppedEarly.TIME_IS_UP;
  await configureSession(task.session);
  await resolveUnanswered(run, task.session);
  if (plan.refusal !== undefined) throw plan.refusal;
  const helper = await openHelper(run, plan, task);
  const reason = await moveUntilStopped(run, plan, task, helper);
  if (await hasBatches(task.session, run.id, task.instrument)) await vacuum(run, task, helper);
  return reason;
}

/**
 * Opens a second session. Two batches at a time use two cores, so only while no other program
 * needs one. It is not worth a connection for a single batch or a gentle run, and none is opened
 * after a connection was lost.
 */
async function openHelper(
  run: MoveRun,
  plan: InstrumentPlan,
  task: Task,
): Promise<Session | undefined> {
  const { options, begun } = run;
  const isFirst = !begun.has(task.instrument);
  begun.add(task.instrument);
  const isLong = plan.rows > options.batchRows && !options.gentle;
  if (!isFirst || !isLong || (await isDatabaseShared(run, task))) return undefined;
  const [helper] = await task.openHelper();
  if (helper) await configureSession(helper);
  return helper;
}

async function configureSession(session: Session): Promise<void> {
  await session`
    select
      set_config('lock_timeout', ${`${LOCK_TIMEOUT_MS}ms`}, false),
      -- Compiling many short statements costs more than it saves.
      set_config('jit', 'off', false),
      -- VACUUM may take long.
      (
        select count(set_config(name, '0', false))
        from pg_settings
        where name in ('statement_timeout', 'transaction_timeout')
      ),
      -- A crash of the server undoes the latest batches as a whole. endRun waits until all are on disk.
      set_config('synchronous_commit', 'off', false)`;
}

async function resolveUnanswered({ unanswered, events }: MoveRun, session: Session): Promise<void> {
  for (const [id, series] of unanswered) {
    const rows = await committedRows(session, id);
    unanswered.delete(id);
    events.onMessage(
      'warn',
      `${series.instrument.symbol} ${series.interval}: the connection was lost during a batch; the log shows that it was ` +
        (rows === undefined ? 'rolled back' : `committed with ${rows} candles`),
    );
    if (rows !== undefined) events.onBatch(series, { rows, untilMs: Date.now() });
  }
}

async function moveUntilStopped(
  run: MoveRun,
  plan: InstrumentPlan,
  task: Task,
  helper: Session | undefined,
): Promise<string | undefined> {
  const { session, instrument, signal } = task;
  try {
    await keepWhatIsRestored(run, plan, task);
    const columns = await prepareUnlockedTables(task);
    for (const { interval, range } of await subtractKeptAgain(run, plan, task)) {
      const series = { instrument, interval };
      await moveRange({ run, session, series, columns, signal }, range, helper);
    }
    return undefined;
  } catch (error) {
    if (error instanceof StoppedEarly) return error.message;
    throw error;
  }
}

/** Before the first batch: otherwise an archive could begin between the batches and this. */
async function keepWhatIsRestored(
  { id: runId, options }: MoveRun,
  plan: InstrumentPlan,
  { session, instrument }: Task,
): Promise<void> {
  const { direction, range, keepUntilMs: untilMs } = options;
  if (direction !== 'restore' || untilMs === undefined) return;
  const ranges = plan.ranges.map(({ interval }) => ({ interval, range }));
  await keepRestored(session, instrument, ranges, { untilMs, runId });
}

async function prepareUnlockedTables({ session, instrument, signal }: Task): Promise<Columns> {
  const isLocked = (error: unknown) => sqlState(error) === SQLSTATE.lockNotAvailable;
  try {
    return await retry(() => prepareTables(session, instrument), { isTransient: isLocked, signal });
  } catch (error) {
    if (isLocked(error)) throw new StoppedEarly('another session has locked its tables');
    throw error;
  }
}

/** Now under the lock: a restore may have ended since the plan was made. */
async function subtractKeptAgain(
  { options }: MoveRun,
  plan: InstrumentPlan,
  { session, instrument }: Task,
): Promise<SeriesRange[]> {
  if (options.direction === 'restore') return plan.ranges;
  return await subtractKept(session, instrument, plan.ranges);
}

async function isDatabaseShared({ options }: MoveRun, task: Task): Promise<boolean> {
  const tables = tablesFor(task.instrument, options.direction);
  return (await lookAtOthers(task.session, tables)).isShared;
}

async function vacuum(run: MoveRun, task: Task, helper: Session | undefined): Promise<void> {
  const { session, instrument } = task;
  try {
    const isShared = helper === undefined || (await isDatabaseShared(run, task));
    await vacuumTables(instrument, session, isShared ? session : helper);
  } catch (error) {
    if (isConnectionLost(error)) throw error;
    run.events.onMessage('warn', `${instrument.symbol}: VACUUM failed: ${describeError(error)}`);
  }
}
