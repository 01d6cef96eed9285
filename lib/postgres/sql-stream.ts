import type postgres from 'postgres';
import { untilAborted } from '../base/mod.ts';
import { disconnected } from './connection.ts';
import { explainSqlError, renderSql, type SqlValues } from './sql-file.ts';

/**
 * Runs a file of one SELECT and yields its rows in batches. The server computes a batch only when it
 * is needed, and stops when the caller stops.
 * @throws as runSql does; an error with code CONNECTION_CLOSED when the server goes away.
 */
export async function* streamSql<Row extends object>(
  sql: postgres.Sql,
  file: string,
  values: SqlValues,
  batchRows = 1000,
): AsyncGenerator<Row[]> {
  const text = renderSql(file, values);
  const disconnect = disconnected(sql);
  let takeNext = (_?: object) => {};
  const batches = new ReadableStream<Row[]>(
    {
      // The cursor is not used as an iterator, because that ends without an error when the query
      // fails between two batches.
      start: (stream) => {
        const takeBatch = (rows: Row[]) =>
          new Promise<object | undefined>((resolve) => {
            takeNext = resolve;
            stream.enqueue([...rows]);
          });
        sql
          .unsafe<Row[]>(text)
          .cursor(batchRows, takeBatch)
          .then(() => stream.close())
          .catch((error) => stream.error(error));
      },
      pull: () => takeNext(),
      cancel: () => takeNext(sql.CLOSE),
    },
    { highWaterMark: 0 },
  ).getReader();
  try {
    while (true) {
      // If the connection is lost, postgres.js 3.4.9 never settles the read.
      const next = await untilAborted(batches.read(), disconnect);
      if (next.done) return;
      yield next.value;
    }
  } catch (error) {
    throw explainSqlError(error, `sql/${file}`, text);
  } finally {
    await batches.cancel().catch(() => {});
  }
}
