import type postgres from 'postgres';
import { lossOf } from './connection.ts';
import { explainSqlError, renderSql, type SqlValues } from './sql-file.ts';

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
  let goOn = (_?: object) => {};
  const batches = new ReadableStream<Row[]>(
    {
      // Not the cursor as an iterator: that one forgets an error which comes while nobody is
      // asking, and ends as if that were all.
      start: (stream) => {
        const takeBatch = (rows: Row[]) =>
          new Promise<object | undefined>((settle) => {
            goOn = settle;
            stream.enqueue([...rows]);
          });
        sql
          .unsafe<Row[]>(text)
          .cursor(batchRows, takeBatch)
          .then(() => stream.close())
          .catch((error) => stream.error(error));
      },
      pull: () => goOn(),
      cancel: () => goOn(sql.CLOSE),
    },
    { highWaterMark: 0 },
  ).getReader();
  try {
    while (true) {
      const next = await settleOrLose(batches.read(), loss);
      if (next.done) return;
      yield next.value;
    }
  } catch (error) {
    throw explainSqlError(error, `sql/${file}`, text);
  } finally {
    await batches.cancel().catch(() => {});
  }
}

/** postgres.js 3.4.9 never settles what it was about to send when the connection closed. */
async function settleOrLose<T>(work: Promise<T>, loss: AbortSignal): Promise<T> {
  let onLoss = () => {};
  const lost = new Promise<never>((_, reject) => {
    onLoss = () => reject(loss.reason);
  });
  if (loss.aborted) onLoss();
  loss.addEventListener('abort', onLoss);
  try {
    return await Promise.race([work, lost]);
  } finally {
    loss.removeEventListener('abort', onLoss);
  }
}
