import type { Session } from './db.ts';
import { KlinekeepError } from './errors.ts';
import type { Instrument } from './instruments.ts';
import { lockedTransaction } from './locks.ts';
import { runSql, type Sql } from './sql-file.ts';

/** A candle table name over 55 bytes: with _archive PostgreSQL would cut it, at worst to itself. */
const MAX_TABLE_NAME_BYTES = 55;

export function archiveTableOf(instrument: Instrument): string {
  return `${instrument.tableName}_archive`;
}

/**
 * Makes the instrument's archive table if there is none, and holds the two shapes together.
 * @throws KlinekeepError (1) naming each difference; no row has moved then.
 */
export async function prepareArchiveTable(session: Session, instrument: Instrument): Promise<void> {
  const [hot, archive] = [instrument.tableName, archiveTableOf(instrument)];
  if (Buffer.byteLength(hot) > MAX_TABLE_NAME_BYTES) {
    throw new KlinekeepError(
      'failed',
      `Table name ${hot} has ${Buffer.byteLength(hot)} bytes; wanted at most ${MAX_TABLE_NAME_BYTES}.`,
      { hint: 'Give it a shorter name in PostgreSQL and in instruments.table_name.' },
    );
  }
  await lockedTransaction(session, instrument.id, '', async (tx) => {
    const [found] =
      await tx`select to_regclass(format('%I', ${archive}::text)) is not null as there`;
    if (!found?.there) {
      await runSql(tx, 'archive/create_table.sql', { hot, archive, instrument_id: instrument.id });
    }
  });
  const differences = await compareShapes(session, instrument);
  if (differences.length > 0) {
    throw new KlinekeepError(
      'failed',
      `${archive} has not the shape of ${hot}: ${differences.join('; ')}. No row was moved.`,
      { hint: `Alter ${archive} until both are the same, then run it again.` },
    );
  }
}

/** How the shape of an instrument's archive table differs from its candle table, in words. */
export async function compareShapes(sql: Sql, instrument: Instrument): Promise<string[]> {
  const rows = await runSql<{
    piece: string;
    hot_shape: string | null;
    archive_shape: string | null;
  }>(sql, 'archive/compare_shapes.sql', {
    hot: instrument.tableName,
    archive: archiveTableOf(instrument),
  });
  return rows.map(
    (row) => `${row.piece} is ${row.archive_shape ?? 'missing'}, wanted ${row.hot_shape ?? 'none'}`,
  );
}
