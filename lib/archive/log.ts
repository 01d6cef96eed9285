import { hostname } from 'node:os';
import type { Instrument, TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

/** Out of the main tables, or back into them. */
export type Direction = 'archive' | 'restore';

export type RunOutcome = 'done' | 'work remaining' | 'refused' | 'failed';

/** Writes down that a run begins. @param window of open times; archive's reaches to its cutoff @returns its id */
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
 * Writes down how a run ended, with the rows that its batches really moved.
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

/** What the batches of a run did to the candles of one instrument. */
export interface BatchSums {
  movedRows: number;
  /** The other tier had it already: the copy went without moving. */
  droppedRows: number;
  batches: number;
  /** Candles that both tiers held alike: one copy went. */
  equalRows: number;
  /** Candles that the tiers held differently: the newer one stayed, both are in the log. */
  conflictRows: number;
}

/** What the batches of a run really did, by instrument. */
export async function sumBatches(sql: Sql, runId: string): Promise<Map<number, BatchSums>> {
  const rows = await sql`
    select
      instrument_id,
      count(*)::int as batches,
      sum(moved_rows)::float8 as moved_rows,
      sum(dropped_rows)::float8 as dropped_rows,
      sum(equal_rows)::float8 as equal_rows,
      sum(conflict_rows)::float8 as conflict_rows
    from archive_batches
    where run_id = ${runId}
    group by instrument_id`;
  return new Map(
    rows.map((row) => [
      row.instrument_id,
      {
        movedRows: row.moved_rows,
        droppedRows: row.dropped_rows,
        batches: row.batches,
        equalRows: row.equal_rows,
        conflictRows: row.conflict_rows,
      },
    ]),
  );
}

/**
 * Looks up what became of a batch whose COMMIT was not answered. Its session must have ended.
 * @returns the rows that it moved; undefined: it was rolled back, or had nothing to move
 */
export async function committedRows(sql: Sql, batchId: string): Promise<number | undefined> {
  const [batch] = await sql`select moved_rows from archive_batches where batch_id = ${batchId}`;
  return batch?.moved_rows;
}

/** One run of archive or restore, for a person. Times in Unix ms. */
export interface LoggedRun {
  id: string;
  verb: Direction;
  startedMs: number;
  /** Undefined: still running, or killed. */
  finishedMs: number | undefined;
  startedBy: string;
  host: string;
  window: { fromMs: number | undefined; toMs: number };
  movedRows: number;
  batches: number;
  equalRows: number;
  conflictRows: number;
  /** Sum of the content hashes of its batches. */
  contentHash: string;
  outcome: RunOutcome | undefined;
  detail: string | undefined;
}

/**
 * The latest runs, newest first.
 * @param choice.instruments only runs that moved candles of one of these; none: all
 * @param choice.id only this one
 */
export async function latestRuns(
  sql: Sql,
  choice: { limit: number; instruments?: readonly Instrument[]; id?: number },
): Promise<LoggedRun[]> {
  const rows = await runSql<{
    id: string;
    verb: Direction;
    started_at: Date;
    finished_at: Date | null;
    started_by: string;
    host: string;
    from_time: Date | null;
    to_time: Date;
    moved_rows: number;
    batches: number;
    equal_rows: number;
    conflict_rows: number;
    content_hash: string;
    outcome: RunOutcome | null;
    detail: string | null;
  }>(sql, 'archive/latest_runs.sql', {
    limit: choice.limit,
    run_id: choice.id ?? '',
    instrument_ids: (choice.instruments ?? []).map(({ id }) => id).join(','),
  });
  return rows.map((row) => ({
    id: row.id,
    verb: row.verb,
    startedMs: row.started_at.getTime(),
    finishedMs: row.finished_at?.getTime(),
    startedBy: row.started_by,
    host: row.host,
    window: { fromMs: row.from_time?.getTime(), toMs: row.to_time.getTime() },
    movedRows: row.moved_rows,
    batches: row.batches,
    equalRows: row.equal_rows,
    conflictRows: row.conflict_rows,
    contentHash: row.content_hash,
    outcome: row.outcome ?? undefined,
    detail: row.detail ?? undefined,
  }));
}

/** One batch, for a person. */
export interface LoggedBatch {
  symbol: string;
  interval: string;
  direction: Direction;
  window: TimeRange;
  movedRows: number;
  equalRows: number;
  conflictRows: number;
  /** Null for batches from before it was defined as it is. */
  contentHash: string | null;
  /** Undefined for batches from before it was measured. */
  durationMs: number | undefined;
  movedAtMs: number;
}

/** The batches of one run, series by series, oldest window first. */
export async function batchesOf(sql: Sql, runId: string): Promise<LoggedBatch[]> {
  const rows = await sql`
    select i.symbol, b.interval, b.direction, b.from_time, b.to_time, b.moved_rows, b.equal_rows,
      b.conflict_rows, b.content_hash::text, b.duration_ms, b.moved_at
    from archive_batches b
    join instruments i on i.id = b.instrument_id
    where b.run_id = ${runId}
    order by i.symbol, b.interval, b.from_time`;
  return rows.map((row) => ({
    symbol: row.symbol,
    interval: row.interval,
    direction: row.direction,
    window: { fromMs: row.from_time.getTime(), toMs: row.to_time.getTime() },
    movedRows: row.moved_rows,
    equalRows: row.equal_rows,
    conflictRows: row.conflict_rows,
    contentHash: row.content_hash,
    durationMs: row.duration_ms ?? undefined,
    movedAtMs: row.moved_at.getTime(),
  }));
}
