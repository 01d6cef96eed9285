/** The table of another program that candles are copied from: found, checked and renamed. */
import { KlinekeepError } from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';
import { quoteIdentifier, runSql, SQLSTATE, type Sql, sqlState } from '../postgres/mod.ts';
import { findTable } from '../store/mod.ts';

export interface ForeignTable {
  schema: string;
  name: string;
  /** Schema and name as SQL. */
  quoted: string;
  /** Type of each column, by name. */
  columns: Record<string, string>;
}

/**
 * Finds the table that candles are copied from, by its new name too: an earlier run may have
 * renamed it before it was killed.
 * @param name as in SQL, with its schema if that is not on search_path
 * @param rename the new name, if it is to be renamed
 * @throws KlinekeepError (65) when there is none, or it is one of ours
 */
export async function findForeignTable(
  sql: Sql,
  name: string,
  rename: string | undefined,
): Promise<ForeignTable> {
  const schema = /^(.+\.)[^.]+$/.exec(name)?.[1] ?? '';
  let [found] = await lookUp(sql, name);
  if (rename !== undefined && (found === undefined || found.is_ours)) {
    const [renamed] = await lookUp(sql, `${schema}${quoteIdentifier(rename)}`);
    found = renamed ?? found;
  }
  if (!found) {
    throw new KlinekeepError('data', `There is no table ${name} in this database.`, {
      hint: 'Name it as in SQL, with its schema if that is not on search_path: old_bot.btc_usdt',
    });
  }
  const { is_ours, is_readable, ...table } = found;
  if (is_ours) {
    throw new KlinekeepError('data', `${table.quoted} belongs to klinekeep already.`, {
      hint: 'Name the table of the other program.',
    });
  }
  if (!is_readable || table.columns === null)
    throw new KlinekeepError('data', `${table.quoted} is not a table that rows can be read from.`);
  return table;
}

type FoundTable = ForeignTable & { is_readable: boolean; is_ours: boolean };

async function lookUp(sql: Sql, name: string): Promise<FoundTable[]> {
  return await runSql<FoundTable>(sql, 'download/foreign_table.sql', { name });
}

/**
 * Checks that the table leaves the instrument's own table its name.
 * @throws KlinekeepError (78) when it has that name and is not to be renamed, or another object has it
 */
export async function assertNameIsFree(
  sql: Sql,
  instrument: Instrument,
  table: ForeignTable,
  rename: string | undefined,
): Promise<void> {
  const own = await findTable(sql, instrument);
  if (own.state !== 'taken') return;
  if (table.name !== instrument.tableName) throw own.problem;
  if (rename !== undefined && rename !== table.name) return;
  throw new KlinekeepError(
    'config',
    `${table.quoted} has the name that the table of ${instrument.symbol} needs.`,
    { hint: `Rename it with --rename ${instrument.tableName}_old` },
  );
}

/** @throws KlinekeepError (78) when another object has the new name */
export async function renameTable(
  sql: Sql,
  table: ForeignTable,
  rename: string,
): Promise<ForeignTable> {
  if (table.name === rename) return table;
  // Only PostgreSQL knows which names are keywords and need quotes.
  const [row] = await sql`select format('%I.%I', ${table.schema}::text, ${rename}::text) as quoted`;
  const quoted: string = row?.quoted;
  try {
    await sql.unsafe(`alter table ${table.quoted} rename to ${quoteIdentifier(rename)}`);
  } catch (error) {
    if (sqlState(error) !== SQLSTATE.duplicateTable) throw error;
    throw new KlinekeepError('config', `Cannot rename ${table.quoted}: ${quoted} exists already.`, {
      hint: 'Choose another name with --rename.',
      cause: error,
    });
  }
  return { ...table, name: rename, quoted };
}
