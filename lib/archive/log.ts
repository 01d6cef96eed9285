import { hostname } from 'node:os';
import type { Instrument } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';

/** `archive`: from the main table to the archive table. `restore`: back. */
export type Direction = 'archive' | 'restore';

export type RunOutcome = 'done' | 'work remaining' | 'refused' | 'failed';

/**
 * Records that a run begins.
 * @param window the open times that it moves; for archive up to its cutoff
 * @returns the run's id
 */
export async function beginRun(
  sql: Sql,
  verb: Direction,
  window: { fromMs?: number; toMs: number },
): Promise<string> {
  const toTime = new Date(window.toMs);
  const [run] = await sql`
    insert into archive_runs ${sql({
      host: hostname(),
      verb,
      from_time: window.fromMs === undefined ? null : new Date(window.fromMs),
      to_time: toTime,
    })}
    returning id`;
  return run?.id;
}

/**
 * Records how a run ended, with the number of rows that its batches moved according to the log.
 * @param detail what failed, or why work remains
 */
export async function endRun(
  sql: Sql,
  runId: string,
  outcome: RunOutcome,
  detail?: string,
): Promise<void> {
  await sql`
    update archive_runs
    set
      finished_at = clock_timestamp(),
      outcome = ${outcome},
      detail = ${detail || null},
      moved_rows = (select coalesce(sum(moved_rows), 0) from archive_batches where run_id = ${runId})
    where id = ${runId}`;
}

/** What the batches of a run did to one instrument's candles. */
export interface BatchSums {
  movedRows: number;
  /** Copies that were deleted instead of moved: the other tier had the candle already. */
  droppedRows: number;
  batches: number;
  /** Candles that were the same in both tiers; one copy was deleted. */
  equalRows: number;
  /** Candles that differed between the tiers: the newer one stayed, the log has both. */
  conflictRows: number;
}

/** Adds up what the batches of a run did according to the log, by instrument id. */
export async function sumBatches(sql: Sql, runId: string): Promise<Map<number, BatchSums>> {
  const rows = await sql<(BatchSums & { instrumentId: number })[]>`
    select
      instrument_id as "instrumentId",
      sum(moved_rows)::float8 as "movedRows",
      sum(dropped_rows)::float8 as "droppedRows",
      count(*)::int as batches,
      sum(equal_rows)::float8 as "equalRows",
      sum(conflict_rows)::float8 as "conflictRows"
    from archive_batches
    where run_id = ${runId}
    group by instrument_id`;
  return new Map(rows.map(({ instrumentId, ...sums }) => [instrumentId, sums]));
}

/** Whether a run has changed candles of an instrument. */
export async function hasBatches(
  sql: Sql,
  runId: string,
  instrument: Instrument,
): Promise<boolean> {
  const rows = await sql`
    select from archive_batches where run_id = ${runId} and instrument_id = ${instrument.id} limit 1`;
  return rows.length > 0;
}

/**
 * Looks up a batch whose COMMIT was not answered. Its session must have ended.
 * @returns the number of rows that it moved; undefined: it was rolled back, or had nothing to move
 */
export async function committedRows(sql: Sql, batchId: string): Promise<number | undefined> {
  const [batch] = await sql`select moved_rows from archive_batches where batch_id = ${batchId}`;
  return batch?.moved_rows;
}
