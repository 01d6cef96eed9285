import type { Session } from './db.ts';
import type { Instrument } from './instruments.ts';
import { lockedTransaction, lockTable } from './locks.ts';
import { runSql, type Sql } from './sql-file.ts';

const known = new WeakSet<Instrument>();

/**
 * Makes the instrument's table when its first candle comes. In a transaction of its own: tables are
 * attached one after the other, and a page of candles would keep the next one waiting.
 */
export async function ensureTable(session: Session, instrument: Instrument): Promise<void> {
  if (known.has(instrument)) return;
  if (!(await tableExists(session, instrument.tableName))) {
    await lockedTransaction(session, instrument.id, '', async (tx) => {
      await lockTable(tx, instrument.id);
      if (await tableExists(tx, instrument.tableName)) return;
      await runSql(tx, 'klines/create_table.sql', {
        hot: instrument.tableName,
        instrument_id: instrument.id,
      });
    });
  }
  known.add(instrument);
}

/** Whether there is a candle table or an archive table of this name. */
export async function tableExists(sql: Sql, name: string): Promise<boolean> {
  const [found] = await runSql<{ there: boolean }>(sql, 'klines/table_exists.sql', { name });
  return found?.there ?? false;
}
