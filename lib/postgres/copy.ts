import { pipeline } from 'node:stream/promises';
import type { Sql } from './sql-file.ts';

/**
 * Streams chunks of data into `COPY … FROM STDIN`.
 *
 * postgres.js 3.4.9 never settles the stream when the server rejects the data, so the pipeline
 * races the query's own rejection.
 * @param copy a complete COPY statement
 * @param chunks the data, cut at any byte
 * @throws PostgreSQL's error for the data; the connection stays usable.
 */
export async function copyIn(
  sql: Sql,
  copy: string,
  chunks: Iterable<string | Buffer> | AsyncIterable<string | Buffer>,
): Promise<void> {
  const query = sql.unsafe(copy);
  const rejected = new Promise<never>((_, reject) => {
    const internals = query as unknown as { reject(error: unknown): void };
    const original = internals.reject;
    internals.reject = (error) => {
      reject(error);
      original(error);
    };
  });
  rejected.catch(() => {});
  const sink = await query.writable();
  await Promise.race([pipeline(chunks, sink), rejected]);
}
