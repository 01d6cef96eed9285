import { READER_VERSION, type Series } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import { type LoadedFile, toFileRow } from './loaded-files.ts';

/** The names of a series' files that were compared with this version of the reader and do not differ. */
export async function comparedFiles(
  sql: Sql,
  { instrument, interval }: Series,
): Promise<Set<string>> {
  const rows = await sql`
    select name
    from compared_files
    where instrument_id = ${instrument.id} and interval = ${interval} and reader_version = ${READER_VERSION}`;
  return new Set(rows.map((row) => row.name));
}

/**
 * Records that a file was compared, so that it is not compared again.
 * @param rows candles of the file that were compared
 */
export async function recordComparedFile(
  sql: Sql,
  series: Series,
  file: LoadedFile,
  sha256: string,
  rows: number,
): Promise<void> {
  await sql`
    insert into compared_files ${sql(toFileRow(series, file, sha256, rows))}
    on conflict (market, name) do update set
      sha256 = excluded.sha256, rows = excluded.rows, reader_version = excluded.reader_version,
      compared_at = now()`;
}

/** Whether comparisons can be recorded: not on a standby, nor with a role that only reads. */
export async function canRecordComparisons(sql: Sql): Promise<boolean> {
  const [row] = await sql`
    select not pg_is_in_recovery()
      and current_setting('transaction_read_only') = 'off'
      and has_table_privilege('compared_files', 'insert')
      and has_table_privilege('compared_files', 'update') as is_possible`;
  return row?.is_possible;
}
