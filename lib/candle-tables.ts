import type postgres from 'postgres';
import type { Instrument } from './instruments.ts';
import { lockTable } from './locks.ts';
import { runSql } from './sql-file.ts';

/** Makes the instrument's table when its first candle comes. Of two at once one makes it. */
export async function ensureTable(
  tx: postgres.TransactionSql,
  instrument: Instrument,
): Promise<void> {
  const isThere = async () => {
    // Reading pg_class makes the server see what was committed since; to_regclass alone does not.
    const [found] = await tx`
      select exists (
        select from pg_class where oid = to_regclass(format('%I', ${instrument.tableName}::text))
      ) as there`;
    return found?.there;
  };
  if (await isThere()) return;
  await lockTable(tx, instrument.id);
  if (await isThere()) return;
  await runSql(tx, 'klines/create_table.sql', {
    hot: instrument.tableName,
    instrument_id: instrument.id,
  });
}
