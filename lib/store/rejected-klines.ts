import type postgres from 'postgres';
import { type Series, seriesValues } from '../market/mod.ts';
import { runSql } from '../postgres/mod.ts';
import type { RejectedKline } from './kline-copy.ts';

/** Keeps rejected lines, each once, however often it is sent. */
export async function storeRejected(
  tx: postgres.TransactionSql,
  series: Series,
  source: string,
  rejected: readonly RejectedKline[],
): Promise<void> {
  if (rejected.length === 0) return;
  await runSql(tx, 'store/store_rejected.sql', {
    ...seriesValues(series),
    source,
    rejected: JSON.stringify(
      rejected.map(({ raw, reason }) => ({ raw: storable(raw), reason: storable(reason) })),
    ),
  });
}

/** PostgreSQL stores neither NUL nor half a character, which the reason may end with. */
function storable(text: string): string {
  return Buffer.from(text.replaceAll('\0', '\ufffd')).toString();
}
