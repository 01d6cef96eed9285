import type { Instrument } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import type { Direction, RunOutcome } from './log.ts';

/** One run of archive or restore, as archive-log shows it. */
export interface LoggedRun {
  id: string;
  verb: Direction;
  startedAt: Date;
  /** Null: it is still running, or was killed. */
  finishedAt: Date | null;
  startedBy: string;
  host: string;
  /** The open times that it moved. Null: from the first candle on. */
  from: Date | null;
  to: Date;
  movedRows: number;
  batches: number;
  equalRows: number;
  conflictRows: number;
  /** Sum of the content hashes of its batches. */
  contentHash: string;
  outcome: RunOutcome | null;
  /** What failed, or why work remains. */
  detail: string | null;
}

/**
 * Reads the latest runs, newest first.
 * @param filter.instruments only runs that changed candles of one of these. Empty: all.
 * @param filter.id only the run with this id
 */
export async function latestRuns(
  sql: Sql,
  filter: { limit: number; instruments?: readonly Instrument[]; id?: number },
): Promise<LoggedRun[]> {
  return await runSql<LoggedRun>(sql, 'archive/latest_runs.sql', {
    limit: filter.limit,
    run_id: filter.id ?? '',
    instrument_ids: (filter.instruments ?? []).map(({ id }) => id).join(','),
  });
}

/** One batch, as archive-log shows it. */
export interface LoggedBatch {
  symbol: string;
  interval: string;
  direction: Direction;
  from: Date;
  to: Date;
  movedRows: number;
  equalRows: number;
  conflictRows: number;
  contentHash: string;
  /** Without the COMMIT. */
  durationMs: number;
  movedAt: Date;
}

/** Reads the batches of one run, series by series, oldest window first. */
export async function listBatches(sql: Sql, runId: string): Promise<LoggedBatch[]> {
  const rows = await sql<LoggedBatch[]>`
    select i.symbol, b.interval, b.direction, b.from_time as "from", b.to_time as "to",
      b.moved_rows as "movedRows", b.equal_rows as "equalRows", b.conflict_rows as "conflictRows",
      b.content_hash::text as "contentHash", b.duration_ms as "durationMs", b.moved_at as "movedAt"
    from archive_batches b
    join instruments i on i.id = b.instrument_id
    where b.run_id = ${runId}
    order by i.symbol, b.interval, b.from_time`;
  return [...rows];
}
