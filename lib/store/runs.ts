import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { EXIT } from '../base/mod.ts';
import { disconnected, type Sql } from '../postgres/mod.ts';

/** How a script ended, for the table `runs`. */
export interface RunResult {
  exitCode: number;
  /** What went wrong. */
  message?: string | undefined;
  /** Its JSON result. */
  result?: Record<string, unknown> | undefined;
}

/** A row of `runs`. Times are Unix ms. */
export interface Run {
  verb: string;
  host: string;
  startedMs: number;
  /** Undefined: still running, or killed. */
  finishedMs: number | undefined;
  exitCode: number | undefined;
  outcome: string | undefined;
  message: string | undefined;
  counts: Record<string, number>;
}

const KEEP_DAYS = 30;
const CLOSE_WITHIN_MS = 3_000;
const MESSAGE_CHARACTERS = 1_000;

/**
 * Records that a script has started, and deletes its old rows. Never fails: on a read-only
 * database nothing is written.
 * @returns the run's id, for `closeRun`
 */
export async function openRun(sql: Sql, verb: string): Promise<string | undefined> {
  try {
    const [run] = await sql`
      with forgotten as (
        delete from runs
        where verb = ${verb} and started_at < now() - make_interval(days => ${KEEP_DAYS})
      )
      insert into runs (verb, host, pid) values (${verb}, ${hostname()}, ${process.pid})
      returning id`;
    return run?.id;
  } catch {
    return undefined;
  }
}

/** Records how a run ended. Never fails, and never waits long for a server that is gone. */
export async function closeRun(sql: postgres.Sql, runId: string, result: RunResult): Promise<void> {
  if (disconnected(sql).aborted) return;
  const written = sql`
    update runs
    set
      finished_at = now(),
      exit_code = ${result.exitCode},
      outcome = ${nameExitCode(result.exitCode)},
      message = ${result.message?.slice(0, MESSAGE_CHARACTERS) ?? null},
      counts = ${JSON.stringify(readCounts(result.result ?? {}))}::text::jsonb
    where id = ${runId}`.catch(() => {});
  await Promise.race([written, sleep(CLOSE_WITHIN_MS, undefined, { ref: false })]);
}

/** The last run of each verb, latest first. */
export async function lastRuns(sql: Sql): Promise<Run[]> {
  const rows = await sql`
    select distinct on (verb)
      verb, host, started_at, finished_at, exit_code, outcome, message, counts
    from runs
    order by verb, started_at desc, id desc`;
  return rows
    .map((row) => ({
      verb: row.verb,
      host: row.host,
      startedMs: row.started_at.getTime(),
      finishedMs: row.finished_at?.getTime(),
      exitCode: row.exit_code ?? undefined,
      outcome: row.outcome ?? undefined,
      message: row.message ?? undefined,
      counts: row.counts ?? {},
    }))
    .sort((a, b) => b.startedMs - a.startedMs);
}

function nameExitCode(exitCode: number): string {
  const name = Object.entries(EXIT).find(([, code]) => code === exitCode)?.[0];
  return name ?? 'stopped';
}

function readCounts(result: Record<string, unknown>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(result).flatMap(([name, value]) => {
      if (typeof value === 'number') return [[name, value]];
      return Array.isArray(value) ? [[name, value.length]] : [];
    }),
  );
}
