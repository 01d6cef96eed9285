import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type postgres from 'postgres';
import { KlinekeepError, PROJECT_DIR } from '../base/mod.ts';
import { candleColumns } from './candle-columns.ts';

/** Anything that runs SQL: a pool, a session of one connection, or a transaction. */
export type Sql = postgres.Sql | postgres.TransactionSql;

export type SqlValues = Record<string, string | number | Date | SqlText>;

/** SQL that is inserted into a file unchanged, for `:name` without quotes. Never from user input. */
export class SqlText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Quotes a name for SQL. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a list of columns, for `:columns`. */
export function columnList(names: readonly string[]): SqlText {
  return new SqlText(names.map(quoteIdentifier).join(', '));
}

const VARIABLE = /(?<!:):(['"])([a-z_]+)\1|(?<=[\s(]):([a-z_]+)\b/g;

const texts = new Map<string, string>();

/**
 * Fills in a file's variables as psql does: `:'name'` becomes a quoted literal, `:"name"` a quoted
 * identifier, `:name` plain SQL. So each file can also be run by hand: `psql -v name=… -f sql/…`.
 * @param file path below `sql/`
 * @throws Error when the file names a variable that was not given.
 */
export function renderSql(file: string, values: SqlValues = {}): string {
  let text = texts.get(file);
  if (text === undefined) {
    text = readFileSync(resolve(PROJECT_DIR, 'sql', file), 'utf8');
    texts.set(file, text);
  }
  return text.replaceAll(VARIABLE, (_, quote: string, quoted: string, bare: string) => {
    const name = quoted ?? bare;
    const shared = bare === undefined ? undefined : candleColumns(bare);
    if (shared !== undefined) return shared;
    const value = values[name];
    if (value === undefined) throw new Error(`sql/${file} needs a value for "${name}"`);
    if (value instanceof SqlText !== (bare !== undefined))
      throw new Error(`sql/${file} needs "${name}" ${bare ? 'as SQL' : 'as a value'}`);
    if (value instanceof SqlText) return value.text;
    const plain = value instanceof Date ? value.toISOString() : String(value);
    return quote + plain.replaceAll(quote, quote + quote) + quote;
  });
}

/**
 * Runs a file, or several in one round trip and one transaction, and returns the rows of the last
 * statement.
 * @throws KlinekeepError naming file and line, with a caret, when PostgreSQL rejects it; the
 * original error is the cause.
 */
export async function runSql<Row extends object = Record<string, unknown>>(
  sql: Sql,
  files: string | readonly string[],
  values: SqlValues = {},
): Promise<Row[]> {
  return (await runStatements<Row>(sql, files, values)).at(-1)?.rows ?? [];
}

/**
 * Runs a file, or several, and returns the results of all statements.
 * @returns for each statement, its rows and the number of rows that it returned or changed.
 * postgres.js 3.4.9 omits statements without rows that follow one with rows.
 * @throws as `runSql`
 */
export async function runStatements<Row extends object = Record<string, unknown>>(
  sql: Sql,
  files: string | readonly string[],
  values: SqlValues = {},
): Promise<{ rows: Row[]; count: number }[]> {
  const parts = [files].flat().map((file) => ({ file, text: `${renderSql(file, values)}\n` }));
  try {
    const result = await sql.unsafe(parts.map((part) => part.text).join(''));
    const results = (Array.isArray(result[0]) ? [...result] : [result]) as postgres.RowList<
      Row[]
    >[];
    return results.map((each) => ({ rows: [...each], count: each.count }));
  } catch (error) {
    const { part, before } = partAt(parts, Number((error as postgres.PostgresError).position));
    throw explainSqlError(error, `sql/${part.file}`, part.text, before);
  }
}

/**
 * Finds the file of PostgreSQL's position, and the number of characters before that file. Without a
 * position it is the last file, because the earlier ones only prepare it.
 */
function partAt(parts: readonly { file: string; text: string }[], position: number) {
  let before = 0;
  for (const part of parts) {
    const length = [...part.text].length;
    if (position <= before + length) return { part, before };
    before += length;
  }
  return { part: parts.at(-1) as { file: string; text: string }, before: 0 };
}

/**
 * Adds file, line and a caret to an error that PostgreSQL raised at a position in `text`.
 * @param before characters that were sent before `text`
 */
export function explainSqlError(error: unknown, file: string, text: string, before = 0): unknown {
  if (!(error instanceof Error) || error.name !== 'PostgresError') return error;
  const { position, message, code, detail } = error as postgres.PostgresError;
  const more = detail ? `\n  ${detail}` : '';
  if (!position) {
    return new KlinekeepError('failed', `${file}: ${message} (${code})${more}`, { cause: error });
  }

  // PostgreSQL counts characters from 1; JavaScript counts UTF-16 units.
  const upTo = [...text].slice(0, Number(position) - before - 1).join('');
  const line = upTo.split('\n').length;
  const column = upTo.length - (upTo.lastIndexOf('\n') + 1);
  const shown = text.split('\n')[line - 1] ?? '';
  const caret = `${String(line).padStart(5)} | ${shown}\n${' '.repeat(8 + column)}^`;
  return new KlinekeepError('failed', `${file}:${line}: ${message} (${code})${more}\n${caret}`, {
    cause: error,
  });
}
