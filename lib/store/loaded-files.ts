import type { Series, TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

/** A file of candles of one series, as it is remembered. */
export interface LoadedFile {
  /** Unique within its market. */
  name: string;
  /** The open times that it is for. */
  range: TimeRange;
}

/** The bulk files of a series that were loaded, by name, oldest first. `rows`: slots with candles. */
export async function loadedFiles(
  sql: Sql,
  { instrument, interval }: Series,
): Promise<Map<string, LoadedFile & { sha256: string; rows: number }>> {
  const files = await sql`
    select name, from_time, to_time, sha256, rows
    from loaded_files
    where instrument_id = ${instrument.id} and interval = ${interval}
    order by from_time, to_time`;
  return new Map(
    files.map(({ name, from_time, to_time, sha256, rows }) => [
      name,
      { name, range: { fromMs: from_time.getTime(), toMs: to_time.getTime() }, sha256, rows },
    ]),
  );
}

/** Writes down that a file was loaded, in the transaction that stores its candles. */
export async function recordLoadedFile(
  sql: Sql,
  { instrument, interval }: Series,
  file: LoadedFile,
  sha256: string,
  rows: number,
): Promise<void> {
  await sql`
    insert into loaded_files (market, name, instrument_id, interval, from_time, to_time, sha256, rows)
    values (
      ${instrument.market}, ${file.name}, ${instrument.id}, ${interval},
      ${new Date(file.range.fromMs)}, ${new Date(file.range.toMs)}, ${sha256}, ${rows}
    )
    on conflict (market, name)
    do update set sha256 = excluded.sha256, rows = excluded.rows, loaded_at = now()`;
}

/**
 * What a file that was staged and merged left as it was: the archived candles of its range, and
 * the stored ones, in whichever tier, that the file does not have.
 */
export async function leftAlone(
  sql: Sql,
  { instrument, interval }: Series,
  { range }: LoadedFile,
): Promise<{ archived: number; lacking: number }> {
  const [found] = await runSql<{ archived: number; lacking: number }>(sql, 'store/left_alone.sql', {
    instrument_id: instrument.id,
    interval,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
  });
  return found as { archived: number; lacking: number };
}
