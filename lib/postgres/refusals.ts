/** What to do when PostgreSQL refuses something to a role, on a standby, or to a long query there. */

import { describeError, KlinekeepError } from '../base/mod.ts';
import type { Database } from './connection.ts';
import { findHome, type Home, quote, whyReadOnly } from './home.ts';
import { runSql } from './sql-file.ts';
import { SQLSTATE, sqlState } from './sqlstate.ts';

/**
 * Turns what PostgreSQL refused into an error that names the privilege and the statement that grants it.
 * @param open the database to look it up in, if there is one
 * @returns the error itself where it is about something else
 */
export async function explainRefusal(
  error: unknown,
  open: () => Promise<Database> | undefined,
): Promise<unknown> {
  const state = sqlState(error);
  if (
    state !== SQLSTATE.readOnlySqlTransaction &&
    state !== SQLSTATE.insufficientPrivilege &&
    state !== SQLSTATE.serializationFailure
  )
    return error;
  const said = describeError(error);
  const database = await open()?.catch(() => undefined);
  const home = database && (await findHome(database.sql).catch(() => undefined));
  if (state === SQLSTATE.serializationFailure) {
    if (!home?.isStandby) return error;
    return new KlinekeepError('later', `The standby cancelled a query: ${said}`, {
      hint:
        'The primary removed rows that the query still needed. Run it again, read from the primary, or on the standby\n' +
        'set hot_standby_feedback = on or a longer max_standby_streaming_delay.',
      cause: error,
    });
  }
  if (state === SQLSTATE.readOnlySqlTransaction) {
    return new KlinekeepError('config', `Cannot write: ${said}`, {
      hint:
        (home && whyReadOnly(home)?.hint) ??
        'Point DATABASE_URL at a server that can be written, not at a replica.',
      cause: error,
    });
  }
  const missing =
    database && home
      ? await missingPrivilege(said, database, home).catch(() => undefined)
      : undefined;
  return new KlinekeepError('config', `PostgreSQL does not allow it: ${said}`, {
    hint:
      missing ??
      `Connect as the role that owns klinekeep's tables${home?.owner ? ` (${home.owner})` : ''}, or have it grant the privilege.`,
    cause: error,
  });
}

/** Finds the refused object in what PostgreSQL said: its names are quoted or come last, in any language. */
async function missingPrivilege(
  said: string,
  { sql }: Database,
  { role, schema = '' }: Home,
): Promise<string | undefined> {
  const to = quote(role);
  const rows = await runSql<{
    kind: string;
    name: string;
    owner: string;
    privileges: string | null;
  }>(sql, 'postgres/missing_privileges.sql', { words: said.replaceAll(/["'„“«»().]/g, ' ') });
  const isOwnership = /must be owner|owner of/i.test(said);
  const lines = rows.map(({ kind, name, owner, privileges }) =>
    isOwnership || privileges === null
      ? `${name} belongs to ${owner}: connect as ${owner}, or: grant ${quote(owner)} to ${to};`
      : `Missing: ${privileges.toUpperCase()} on ${name}. As ${owner}: grant ${privileges} on ${kind} ${name} to ${to};`,
  );
  if (rows.some(({ privileges }) => privileges === 'select'))
    lines.push(`Or of all tables: grant select on all tables in schema ${quote(schema)} to ${to};`);
  return lines.length > 0 ? lines.join('\n') : undefined;
}
