import type postgres from 'postgres';
import { formatCount, formatDuration, formatShort } from '../../base/mod.ts';
import type { Run } from '../../store/mod.ts';
import { type Column, formatTableHtml } from './html.ts';

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
    select verb, started_at, finished_at, host, from_time, to_time, moved_rows, outcome
    from archive_runs
    order by id desc
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

const BEGAN_TOOK_HOST: Column<Pick<Run, 'startedMs' | 'finishedMs' | 'host'>>[] = [
  { name: 'Began', cell: ({ startedMs }) => formatShort(startedMs) },
  { name: 'Took', kind: 'wide', cell: formatTook },
  { name: 'Host', kind: 'wide', cell: ({ host }) => host },
];

/** Formats the section "Archive runs". */
export function formatArchiveRuns(runs: readonly ArchiveRun[]): string {
  if (runs.length === 0) return '<p class="note">Nothing has been archived yet.</p>';
  return formatTableHtml<ArchiveRun>(
    [
      ...BEGAN_TOOK_HOST,
      { name: 'Move', cell: formatMove },
      { name: 'Rows', kind: 'number', cell: ({ movedRows }) => formatCount(movedRows) },
      { name: 'Outcome', cell: ({ outcome }) => outcomeCell(outcome, '', outcome === 'done') },
    ],
    runs,
  );
}

/** Formats the section "Last run of each verb". */
export function formatRuns(runs: readonly Run[]): string {
  if (runs.length === 0) return '<p class="note">No runs yet.</p>';
  return formatTableHtml<Run>(
    [
      { name: 'Verb', cell: ({ verb }) => verb },
      ...BEGAN_TOOK_HOST,
      {
        name: 'Outcome',
        cell: ({ outcome, message, exitCode }) => outcomeCell(outcome, message, exitCode === 0),
      },
    ],
    runs,
  );
}

function outcomeCell(outcome: string | undefined, message = '', isGood: boolean) {
  const text = [outcome ?? 'running, or killed', message].filter((part) => part !== '').join(': ');
  return { text, kind: isGood ? 'message' : 'message bad' };
}

function formatTook({ startedMs, finishedMs }: Pick<Run, 'startedMs' | 'finishedMs'>): string {
  return finishedMs === undefined ? '' : formatDuration(finishedMs - startedMs);
}

function formatMove({ verb, fromMs, toMs }: ArchiveRun): string {
  const from = fromMs === undefined ? '' : ` from ${formatShort(fromMs)}`;
  const to = toMs === undefined ? '' : ` to ${formatShort(toMs)}`;
  return `${verb}${from}${to}`;
}
