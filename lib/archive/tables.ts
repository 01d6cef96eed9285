import { KlinekeepError } from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';
import { columnList, createIn, runSql, type Session, type Sql, SqlText } from '../postgres/mod.ts';
import { findTable, lockedTransaction, tableIn } from '../store/mod.ts';
import type { Direction } from './log.ts';

/** A candle table name over 55 bytes: with _archive PostgreSQL would cut it, at worst to itself. */
const MAX_TABLE_NAME_BYTES = 55;

export function archiveTableOf(instrument: Instrument): string {
  return tableIn('klines_archive', instrument);
}

/** The tables that candles move from and to. */
export function tablesOf(
  instrument: Instrument,
  direction: Direction,
): { source: string; target: string } {
  const [hot, archive] = [instrument.tableName, archiveTableOf(instrument)];
  return direction === 'archive'
    ? { source: hot, target: archive }
    : { source: archive, target: hot };
}

/**
 * Makes the instrument's archive table if there is none, and holds the two tables together.
 * @returns the columns of both
 * @throws what `assertFit` throws; no row has moved then.
 */
export async function prepareTables(session: Session, instrument: Instrument): Promise<Columns> {
  const [hot, archive] = [instrument.tableName, archiveTableOf(instrument)];
  assertShortName(hot);
  const found = await findTable(session, instrument, 'klines_archive');
  if (found.state === 'absent') {
    await lockedTransaction(session, instrument.id, '', async (tx) => {
      await createIn(tx, found.home);
      await runSql(tx, 'archive/create_archive_table.sql', {
        hot,
        archive,
        instrument_id: instrument.id,
      });
    });
  }
  await assertFit(session, instrument);
  return await readColumns(session, hot);
}

/**
 * That candles can move between the tables of an instrument: names, shapes, and where they belong.
 * There need not be an archive table yet.
 * @throws KlinekeepError (78) naming each difference
 */
export async function assertFit(sql: Sql, instrument: Instrument): Promise<void> {
  const [hot, archive] = [instrument.tableName, archiveTableOf(instrument)];
  assertShortName(hot);
  const source = await findTable(sql, instrument, 'klines');
  if (source.state === 'taken') throw source.problem;
  const found = await findTable(sql, instrument, 'klines_archive');
  if (source.state === 'absent' || found.state === 'absent') return;
  if (found.state === 'taken' && !found.isTable) throw found.problem;
  const differences = await compareShapes(sql, instrument);
  if (differences.length > 0) {
    throw new KlinekeepError(
      'config',
      `${archive} has not the shape of ${hot}: ${differences.join('; ')}. No row was moved.`,
      { hint: `Alter ${archive} until both are the same, then run it again.` },
    );
  }
  if (found.state === 'taken') throw found.problem;
}

function assertShortName(hot: string): void {
  const bytes = Buffer.byteLength(hot);
  if (bytes <= MAX_TABLE_NAME_BYTES) return;
  throw new KlinekeepError(
    'config',
    `Table name ${hot} has ${bytes} bytes; wanted at most ${MAX_TABLE_NAME_BYTES}. No row was moved.`,
    { hint: 'Give it a shorter name in PostgreSQL and in instruments.table_name.' },
  );
}

/** What there is to copy and to compare. */
export interface Columns {
  /** All of them, in their order. */
  columns: SqlText;
  /**
   * A bigint from the whole row: `#` of each column's hash with its position as the seed, and 0 for
   * null. So the hash of a stored row stays the same when columns are added that are null in it.
   */
  row_hash: SqlText;
}

/** The columns of a candle table or an archive table. */
export async function readColumns(sql: Sql, table: string): Promise<Columns> {
  const rows = await runSql<{ name: string; hash: string }>(sql, 'archive/columns.sql', { table });
  return {
    columns: columnList(rows.map(({ name }) => name)),
    row_hash: new SqlText(`(${rows.map(({ hash }) => hash).join(' # ')})`),
  };
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

/**
 * Cleans up after a move and refreshes statistics. Autovacuum would wait until a fifth of the
 * table has changed. Readers and writers go on.
 * @param other a second session, which takes the archive table at the same time
 */
export async function vacuumTables(
  session: Session,
  instrument: Instrument,
  other = session,
): Promise<void> {
  await Promise.all([
    vacuum(session, instrument.tableName),
    vacuum(other, archiveTableOf(instrument)),
  ]);
}

async function vacuum(session: Session, table: string): Promise<void> {
  await runSql(session, 'archive/vacuum.sql', { table });
}
