import type { Series } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import type { Check, FindingRow } from './findings.ts';

/**
 * Records that the exchange, asked again, sent what is stored. Verify then reports these candles
 * as published until their values change.
 * @param published candles with a `rowHash`
 */
export async function recordPublished(
  sql: Sql,
  { instrument, interval }: Series,
  published: readonly { check: Check; row: FindingRow }[],
): Promise<void> {
  if (published.length === 0) return;
  const values = published.map(({ check, row }) => ({
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
