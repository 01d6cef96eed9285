import type postgres from 'postgres';
import { configError } from '../base/mod.ts';

/** Version 13 has no date_bin, and its hash_record_extended is missing. */
const OLDEST = 14;

export interface Server {
  /** PostgreSQL's own number: 140023 is 14.23. */
  versionNumber: number;
  /** The version with what its packager added: `14.23 (Debian 14.23-1)`. */
  version: string;
  database: string;
  /** The encoding that the database stores text in. */
  encoding: string;
}

/**
 * Checks that this PostgreSQL can hold candles, in one round trip.
 * @throws KlinekeepError (78) when it is older than version 14 or the encoding is not UTF8.
 */
export async function checkServer(sql: postgres.Sql): Promise<void> {
  const [server] = await sql<[Server]>`
    select
      current_setting('server_version_num')::int as "versionNumber",
      current_setting('server_version') as version,
      current_database() as database,
      current_setting('server_encoding') as encoding`;
  assertSupported(server);
}

/** @throws KlinekeepError (78) when the server is too old or the encoding is not UTF8. */
export function assertSupported({ versionNumber, version, database, encoding }: Server): void {
  if (versionNumber < OLDEST * 10_000) {
    throw configError(
      `The server runs PostgreSQL ${version}, but klinekeep needs version ${OLDEST} or newer.`,
      'Upgrade the server, set DATABASE_URL to a newer one, or leave DATABASE_URL unset to use the embedded server.',
    );
  }
  if (encoding !== 'UTF8') {
    throw configError(
      `The database "${database}" has the encoding ${encoding}, but klinekeep needs UTF8, because symbols such as 币安人生USDT are not ASCII.`,
      `Create one with the right encoding: create database klines encoding 'UTF8' template template0; then name it in DATABASE_URL.`,
    );
  }
}
