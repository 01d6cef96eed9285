import { KlinekeepError } from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';
import { columnList, createIn, runSql, type Session, type Sql, SqlText } from '../postgres/mod.ts';
import { findTable, lockedTransaction, tableIn } from '../store/mod.ts';
import type { Direction } from './log.ts';

/** PostgreSQL cuts names at 63 bytes, so that a longer name with `_archive` could become the name itself. */
const MAX_TABLE_NAME_BYTES = 55;

/** The tables that an instrument's candles move from and to. */
export interface Tables {
  source: string;
  target: string;
}

export function tablesFor(instrument: Instrument, direction: Direction): Tables {
  const [hot, archive] = [instrument.tableName, tableIn('klines_archive', instrument)];
  return direction === 'archive'
    ? { source: hot, target: archive }
    : { source: archive, target: hot };
}

/**
 * Creates the instrument's archive table if there is none, and compares the two tables.
 * @returns the columns of both
 * @throws KlinekeepError (78) as `assertTablesFit`; no row has moved then
 */
export async function prepareTables(session: Session, instrument: Instrument): Promise<Columns> {
  const [hot, archive] = [instrument.tableName, tableIn('klines_archive', instrument)];
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
  await assertTablesFit(session, instrument);
  return await readColumns(session, hot);
}

/**
 * Checks that candles can move between an instrument's tables: their names, their shapes, and that
 * they are partitions of the right parents. The archive table need not exist yet.
 * @throws KlinekeepError (78) that names each difference
 */
export async function assertTablesFit(sql: Sql, instrument: Instrument): Promise<void> {
  const [hot, archive] = [instrument.tableName, tableIn('klines_archive', instrument)];
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
      `${archive} differs from ${hot}: ${differences.join('; ')}. No row was moved.`,
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
    { hint: 'Give the table a shorter name in PostgreSQL and in instruments.table_name.' },
  );
}

/** SQL for the columns that a batch copies and compares. */
export interface Columns {
  /** All columns, in their order. */
  columns: SqlText;
  /**
   * A bigint for the whole row: `#` of each column's hash with its position as the seed, and 0 for
   * null. So the hash of a stored row stays the same when columns are added that are null in it.
   */
  row_hash: SqlText;
}

/** Reads the columns of a candle table or an archive table. */
export async function readColumns(sql: Sql, table: string): Promise<Columns> {
  const rows = await runSql<{ name: string; hash: string }>(sql, 'archive/columns.sql', { table });
  return {
    columns: columnList(rows.map(({ name }) => name)),
    row_hash: new SqlText(`(${rows.map(({ hash }) => hash).join(' # ')})`),
  };
}

/** Describes each difference in shape of an instrument's archive table from its candle table. */
export async function compareShapes(sql: Sql, instrument: Instrument): Promise<string[]> {
  const rows = await runSql<{
    piece: string;
    hot_shape: string | null;
    archive_shape: string | null;
  }>(sql, 'archive/compare_shapes.sql', {
    hot: instrument.tableName,
    archive: tableIn('klines_archive', instrument),
  });
  return rows.map(
    (row) => `${row.piece} is ${row.archive_shape ?? 'missing'}, wanted ${row.hot_shape ?? 'none'}`,
  );
}

/**
 * Cleans up after a move and refreshes statistics: autovacuum would wait until a fifth of the table
 * has changed. Readers and writers go on.
 * @param helper cleans up the archive table at the same time; may be the same session
 */
export async function vacuumTables(
  instrument: Instrument,
  session: Session,
  helper: Session,
): Promise<void> {
  await Promise.all([
    runSql(session, 'archive/vacuum.sql', { table: instrument.tableName }),
    runSql(helper, 'archive/vacuum.sql', { table: tableIn('klines_archive', instrument) }),
  ]);
}
