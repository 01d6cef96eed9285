/** The table of another program that candles are copied from: found, checked and renamed. */

import { KlinekeepError } from '../base/mod.ts';
import type { Series } from '../market/mod.ts';
import {
  quoteIdentifier,
  runSql,
  type Session,
  SQLSTATE,
  type Sql,
  sqlState,
} from '../postgres/mod.ts';
import { findTable } from '../store/mod.ts';
import { type Field, planRows, type RowSource } from './adopt-columns.ts';

export interface ForeignTable {
  schema: string;
  name: string;
  /** Its name as SQL. */
  quoted: string;
  columns: Record<string, string>;
}

/**
 * Finds the table that candles are to be copied from.
 * @param name as in SQL, with its schema if it is not on search_path
 * @throws KlinekeepError (65) when there is none, or it is one of ours
 */
export async function findForeignTable(sql: Sql, name: string): Promise<ForeignTable> {
  const [found] = await runSql<{
    schema: string;
    name: string;
    quoted: string;
    is_readable: boolean;
    is_ours: boolean;
    columns: string | null;
  }>(sql, 'download/foreign_table.sql', { name });
  if (found === undefined) {
    throw new KlinekeepError('data', `There is no table ${name} in this database.`, {
      hint: 'Name it as in SQL, with its schema if that is not on search_path: old_bot.btc_usdt',
    });
  }
  const { schema, name: ownName, quoted } = found;
  if (found.is_ours) {
    throw new KlinekeepError('data', `${quoted} belongs to klinekeep already.`, {
      hint: 'Name the table of the other program.',
    });
  }
  if (!found.is_readable || found.columns === null) {
    throw new KlinekeepError('data', `${quoted} is no table that rows can be read from.`);
  }
  return { schema, name: ownName, quoted, columns: JSON.parse(found.columns) };
}

/**
 * The table to copy from, renamed first where it has the very name that the instrument's own table
 * needs. A run that was killed after that finds it under its new name.
 * @param rename the new name; undefined: it keeps its name
 * @throws KlinekeepError (78) when the name is needed and no new one is given
 */
export async function claimTable(
  session: Session,
  series: Series,
  name: string,
  rename: string | undefined,
): Promise<ForeignTable> {
  const source = await findSource(session, name, rename);
  const isInTheWay = await standsInTheWay(session, series, source, rename);
  return isInTheWay ? await renameTable(session, source, rename as string) : source;
}

/**
 * Whether the table has the very name that the instrument's own table needs.
 * @throws KlinekeepError (78) when it has and no new name is given, or when something else is in the way
 */
export async function standsInTheWay(
  sql: Sql,
  { instrument }: Series,
  source: ForeignTable,
  rename: string | undefined,
): Promise<boolean> {
  const own = await findTable(sql, instrument);
  if (own.state !== 'taken') return false;
  if (source.name !== instrument.tableName) throw own.problem;
  if (rename !== undefined && rename !== source.name) return true;
  throw new KlinekeepError(
    'config',
    `${source.quoted} has the name that the table of ${instrument.symbol} needs.`,
    { hint: `Have it renamed: --rename ${instrument.tableName}_old` },
  );
}

/** The table by its name, or by its new one if an earlier run has renamed it. */
export async function findSource(
  sql: Sql,
  name: string,
  rename: string | undefined,
): Promise<ForeignTable> {
  try {
    return await findForeignTable(sql, name);
  } catch (error) {
    if (rename === undefined || !(error instanceof KlinekeepError)) throw error;
    const schema = /^(.+)\.[^.]+$/.exec(name)?.[1];
    const renamed = `${schema ? `${schema}.` : ''}${quoteIdentifier(rename)}`;
    return await findForeignTable(sql, renamed).catch(() => {
      throw error;
    });
  }
}

/** @throws KlinekeepError (78) when something else has the new name */
export async function renameTable(
  sql: Sql,
  source: ForeignTable,
  rename: string,
): Promise<ForeignTable> {
  if (source.name === rename) return source;
  // A table may have the name of a keyword: PostgreSQL knows which names need quotes.
  const [row] =
    await sql`select format('%I.%I', ${source.schema}::text, ${rename}::text) as quoted`;
  const quoted: string = row?.quoted;
  try {
    await sql.unsafe(`alter table ${source.quoted} rename to ${quoteIdentifier(rename)}`);
  } catch (error) {
    if (sqlState(error) !== SQLSTATE.duplicateTable) throw error;
    throw new KlinekeepError(
      'config',
      `Cannot rename ${source.quoted}: ${quoted} exists already.`,
      { hint: 'Choose another name with --rename.', cause: error },
    );
  }
  return { ...source, name: rename, quoted };
}

/** How the rows of the table are read as candles of a series. @throws as `planRows` */
export function planSource(
  source: ForeignTable,
  { instrument, interval }: Series,
  map: Readonly<Partial<Record<Field, string>>>,
): RowSource {
  return planRows(source.columns, map, {
    interval,
    symbol: instrument.symbol,
    exchangeSymbol: instrument.exchangeSymbol,
  });
}
