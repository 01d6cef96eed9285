import type postgres from 'postgres';
import type { RejectedKline } from './kline-codec.ts';
import type { Series } from './klines.ts';

/** Keeps what was refused, once however often it is sent. */
export async function storeRejected(
  tx: postgres.TransactionSql,
  { instrument, interval }: Series,
  source: string,
  rejected: readonly RejectedKline[],
): Promise<void> {
  if (rejected.length === 0) return;
  const rows = rejected.map(({ raw, reason }) => ({
    instrument_id: instrument.id,
    interval,
    source,
    reason,
    raw,
  }));
  await tx`insert into rejected_klines ${tx(rows)} on conflict do nothing`;
}
