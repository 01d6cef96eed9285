import type { Series } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import type { FindingRow } from './findings.ts';

/** Writes down that the exchange was asked again for these and sent what is stored. */
export async function rememberPublished(
  sql: Sql,
  { instrument, interval }: Series,
  check: string,
  rows: readonly FindingRow[],
): Promise<void> {
  if (rows.length === 0) return;
  const values = rows.map((row) => ({
    instrument_id: instrument.id,
    interval,
    open_time: new Date(row.fromMs),
    check_name: check,
    row_hash: row.rowHash as string,
  }));
  await sql`
    insert into published_oddities ${sql(values)}
    on conflict (instrument_id, interval, open_time, check_name)
    do update set row_hash = excluded.row_hash, asked_at = now()`;
}
