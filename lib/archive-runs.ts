import { hostname } from 'node:os';
import type { Sql } from './sql-file.ts';

export type RunOutcome = 'done' | 'work remaining' | 'refused' | 'failed';

/** Writes down that a run begins. @returns its id */
export async function beginRun(sql: Sql, cutoffMs: number): Promise<string> {
  const [run] = await sql`
    insert into archive_runs (host, cutoff) values (${hostname()}, ${new Date(cutoffMs)})
    returning id`;
  return run?.id;
}

/** Writes down how a run ended, with the rows that its batches really moved. */
export async function endRun(sql: Sql, runId: string, outcome: RunOutcome): Promise<void> {
  await sql`
    update archive_runs
    set
      finished_at = now(),
      outcome = ${outcome},
      moved_rows = (select coalesce(sum(moved_rows), 0) from archive_batches where run_id = ${runId})
    where id = ${runId}`;
}

/** What the batches of a run really moved, by instrument. */
export async function movedRows(sql: Sql, runId: string): Promise<Map<number, number>> {
  const rows = await sql`
    select instrument_id, sum(moved_rows)::float8 as moved_rows
    from archive_batches
    where run_id = ${runId}
    group by instrument_id`;
  return new Map(rows.map((row) => [row.instrument_id, row.moved_rows]));
}
