import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type postgres from 'postgres';
import { lossOf } from './db.ts';
import { PROJECT_DIR } from './env.ts';
import { KlinekeepError } from './errors.ts';

/** Anything that runs SQL: a pool, a session of one connection, or a transaction. */
export type Sql = postgres.Sql | postgres.TransactionSql;

export type SqlValues = Record<string, string | number | Date>;

const texts = new Map<string, string>();

/**
 * Fills in a file's variables the way psql does: `:'name'` becomes a quoted literal, `:"name"` a
 * quoted identifier. So each file also runs by hand: `psql -v name=… -f sql/…`.
 * @param file path below `sql/`
 * @throws Error when the file names a variable that was not given.
 */
export function renderSql(file: string, values: SqlValues = {}): string {
  let text = texts.get(file);
  if (text === undefined) {
    text = readFileSync(resolve(PROJECT_DIR, 'sql', file), 'utf8');
    texts.set(file, text);
  }
  return text.replaceAll(/(?<!:):(['"])([a-z_]+)\1/g, (_, quote: string, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`sql/${file} wants a value for "${name}"`);
    const plain = value instanceof Date ? value.toISOString() : String(value);
    return quote + plain.replaceAll(quote, quote + quote) + quote;
  });
}

/**
 * Runs a file and returns the rows of its last statement.
 * @throws KlinekeepError naming file and line, with a caret, when PostgreSQL refuses it; the
 * original error is its cause.
 */
export async function runSql<Row extends object = Record<string, unknown>>(
  sql: Sql,
  file: string,
  values: SqlValues = {},
): Promise<Row[]> {
  const text = renderSql(file, values);
  try {
    const result = await sql.unsafe(text);
    const last = Array.isArray(result[0]) ? result.at(-1) : result;
    return [...(last as unknown as Row[])];
  } catch (error) {
    throw explainSqlError(error, `sql/${file}`, text);
  }
}

/**
 * Runs a file of one SELECT and yields its rows in batches, as fast as they are taken: what is
 * not asked for is not computed. Stop early and the server stops too.
 * @throws as runSql does; an error with code CONNECTION_CLOSED when the server goes away.
 */
export async function* streamSql<Row extends object>(
  sql: postgres.Sql,
  file: string,
  values: SqlValues,
  batchRows = 1000,
): AsyncGenerator<Row[]> {
  const text = renderSql(file, values);
  const loss = lossOf(sql);
  const rows = sql.unsafe<Row[]>(text).cursor(batchRows)[Symbol.asyncIterator]();
  try {
    while (true) {
      const next = await settleOrLose(rows.next(), loss);
      if (next.done) return;
      yield [...next.value];
    }
  } catch (error) {
    throw explainSqlError(error, `sql/${file}`, text);
  } finally {
    await rows.return?.();
  }
}

/** postgres.js 3.4.9 never settles what it was about to send when the connection closed. */
async function settleOrLose<T>(work: Promise<T>, loss: AbortSignal): Promise<T> {
  let onLoss = () => {};
  const lost = new Promise<never>((_, reject) => {
    onLoss = () => reject(loss.reason);
  });
  loss.addEventListener('abort', onLoss);
  try {
    return await Promise.race([work, lost]);
  } finally {
    loss.removeEventListener('abort', onLoss);
  }
}

/** The SQLSTATE of an error or of the first of its causes that has one. */
export function sqlState(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at.name === 'PostgresError') return (at as postgres.PostgresError).code;
  }
  return undefined;
}

/** Adds file, line and a caret to an error that PostgreSQL raised at a position in `text`. */
export function explainSqlError(error: unknown, file: string, text: string): unknown {
  if (!(error instanceof Error) || error.name !== 'PostgresError') return error;
  const { position, message, code, detail } = error as postgres.PostgresError;
  const more = detail ? `\n  ${detail}` : '';
  if (!position) {
    return new KlinekeepError('failed', `${file}: ${message} (${code})${more}`, { cause: error });
  }

  // PostgreSQL counts characters from 1; JavaScript counts UTF-16 units.
  const before = [...text].slice(0, Number(position) - 1).join('');
  const line = before.split('\n').length;
  const column = before.length - (before.lastIndexOf('\n') + 1);
  const shown = text.split('\n')[line - 1] ?? '';
  const caret = `${String(line).padStart(5)} | ${shown}\n${' '.repeat(8 + column)}^`;
  return new KlinekeepError('failed', `${file}:${line}: ${message} (${code})${more}\n${caret}`, {
    cause: error,
  });
}
