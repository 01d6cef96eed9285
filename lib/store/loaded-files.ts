import {
  READER_VERSION,
  rangeValues,
  type Series,
  seriesValues,
  type TimeRange,
} from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

/** A bulk file with candles of one series. */
export interface LoadedFile {
  /** Unique within its market. */
  name: string;
  /** The open times that it covers. */
  range: TimeRange;
}

/** The bulk files of a series that were loaded, by name, oldest first. `rows`: slots with candles. */
export async function loadedFiles(
  sql: Sql,
  { instrument, interval }: Series,
): Promise<Map<string, LoadedFile & { sha256: string; rows: number; readerVersion: number }>> {
  const files = await sql`
    select name, from_time, to_time, sha256, rows, reader_version
    from loaded_files
    where instrument_id = ${instrument.id} and interval = ${interval}
    order by from_time, to_time`;
  return new Map(
    files.map(({ name, from_time, to_time, sha256, rows, reader_version: readerVersion }) => {
      const range = { fromMs: from_time.getTime(), toMs: to_time.getTime() };
      return [name, { name, range, sha256, rows, readerVersion }];
    }),
  );
}

/** A file as a row of loaded_files or compared_files. */
export function toFileRow(
  series: Series,
  { name, range }: LoadedFile,
  sha256: string,
  rows: number,
) {
  return {
    market: series.instrument.market,
    name,
    ...rangeValues(series, range),
    sha256,
    rows,
    reader_version: READER_VERSION,
  };
}

/** Records that a file was loaded, in the transaction that stores its candles. */
export async function recordLoadedFile(
  sql: Sql,
  series: Series,
  file: LoadedFile,
  sha256: string,
  rows: number,
): Promise<void> {
  await sql`
    insert into loaded_files ${sql(toFileRow(series, file, sha256, rows))}
    on conflict (market, name) do update set
      sha256 = excluded.sha256, rows = excluded.rows, reader_version = excluded.reader_version,
      loaded_at = now()`;
}

/**
 * Counts the candles that a merged file left unchanged: the archived ones of its range, and those
 * of either tier that are missing in the file.
 */
export async function leftAlone(
  sql: Sql,
  series: Series,
  { range }: LoadedFile,
): Promise<{ archived: number; lacking: number }> {
  const [found] = await runSql(sql, 'store/left_alone.sql', rangeValues(series, range));
  return found as { archived: number; lacking: number };
}

/**
 * The name of a loaded file that has the candles on both sides of a gap, and none between them.
 * @param gap the open times of both candles, Unix ms
 */
export async function fileThatShows(
  sql: Sql,
  series: Series,
  gap: { beforeMs: number; afterMs: number },
): Promise<string | undefined> {
  const [file] = await runSql<{ name: string }>(sql, 'store/file_shows_gap.sql', {
    ...seriesValues(series),
    before_time: new Date(gap.beforeMs),
    after_time: new Date(gap.afterMs),
  });
  return file?.name;
}
