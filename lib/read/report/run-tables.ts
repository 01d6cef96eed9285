import type postgres from 'postgres';
import { formatCount, formatDuration, formatShort } from '../../base/mod.ts';
import type { Run } from '../../store/mod.ts';
import { type Cell, formatTableHtml } from './html.ts';

const SHOWN_RUNS = 20;

/** A run of archive or restore. Times are Unix ms. */
export interface ArchiveRun {
  startedMs: number;
  /** Undefined: still running, or killed. */
  finishedMs: number | undefined;
  host: string;
  verb: 'archive' | 'restore';
  /** The requested window; undefined `fromMs`: from the first candle on. */
  fromMs: number | undefined;
  toMs: number | undefined;
  movedRows: number;
  /** Undefined: still running, or killed. */
  outcome: string | undefined;
}

/** Reads the latest runs of archive and restore, latest first. */
export async function latestArchiveRuns(sql: postgres.Sql): Promise<ArchiveRun[]> {
  const rows = await sql`
    select r.verb, r.started_at, r.finished_at, r.host, r.from_time, r.to_time, b.moved_rows, r.outcome
    from archive_runs r
    cross join lateral (
      -- A killed run did not record how many rows it moved.
      select coalesce(sum(moved_rows), 0) as moved_rows from archive_batches where run_id = r.id
    ) as b
    order by r.id desc
    limit ${SHOWN_RUNS}`;
  return rows.map((row) => ({
    startedMs: row.started_at.getTime(),
    finishedMs: row.finished_at?.getTime(),
    host: row.host,
    verb: row.verb,
    fromMs: row.from_time?.getTime(),
    toMs: row.to_time?.getTime(),
    movedRows: Number(row.moved_rows),
    outcome: row.outcome ?? undefined,
  }));
}

/** Formats the section "Archive runs". */
export function formatArchiveRuns(runs: readonly ArchiveRun[]): string {
  if (runs.length === 0) return '<p class="note">Nothing has been archived yet.</p>';
  const rows = runs.map((run) => [
    ...toCells(run),
    [formatMove(run)] as const,
    [formatCount(run.movedRows), 'number'] as const,
    toOutcomeCell(run, run.outcome === 'done'),
  ]);
  return formatTableHtml([...HEAD, ['Move'], ['Rows', 'number'], ['Outcome']], rows);
}

/** Formats the section "Last run of each verb". */
export function formatRuns(runs: readonly Run[]): string {
  if (runs.length === 0) return '<p class="note">No runs yet.</p>';
  const rows = runs.map((run) => [
    [run.verb] as const,
    ...toCells(run),
    toOutcomeCell(run, run.exitCode === 0),
  ]);
  return formatTableHtml([['Verb'], ...HEAD, ['Outcome']], rows);
}

const HEAD: readonly Cell[] = [['Began'], ['Took', 'wide'], ['Host', 'wide']];

function toCells({ startedMs, finishedMs, host }: Run | ArchiveRun): Cell[] {
  const took = finishedMs === undefined ? '' : formatDuration(finishedMs - startedMs);
  return [[formatShort(startedMs)], [took, 'wide'], [host, 'wide']];
}

function toOutcomeCell(
  run: Pick<Run, 'outcome'> & { message?: string | undefined },
  isGood: boolean,
): Cell {
  const { outcome = 'running, or killed', message } = run;
  const text = message === undefined ? outcome : `${outcome}: ${message}`;
  return [text, isGood ? 'message' : 'message bad'];
}

function formatMove({ verb, fromMs, toMs }: ArchiveRun): string {
  const from = fromMs === undefined ? '' : ` from ${formatShort(fromMs)}`;
  const to = toMs === undefined ? '' : ` to ${formatShort(toMs)}`;
  return `${verb}${from}${to}`;
}
