/** Explains why PostgreSQL refused a statement: a missing privilege, or a standby. */
import { configError, describeError, KlinekeepError } from '../base/mod.ts';
import type { Database } from './connection.ts';
import { findHome, type Home, quote, whyReadOnly } from './home.ts';
import { runSql } from './sql-file.ts';
import { SQLSTATE, sqlState } from './sqlstate.ts';

const EXPLAINED = new Set<string>([
  SQLSTATE.serializationFailure,
  SQLSTATE.readOnlySqlTransaction,
  SQLSTATE.insufficientPrivilege,
]);

/**
 * Adds the missing privilege, and the statement that grants it, to PostgreSQL's error.
 * @param open opens the database to look it up, if there is one
 * @returns other errors unchanged
 */
export async function explainRefusal(
  error: unknown,
  open: () => Promise<Database> | undefined,
): Promise<unknown> {
  const state = sqlState(error) ?? '';
  if (!EXPLAINED.has(state)) return error;
  const text = describeError(error);
  const database = await open()?.catch(() => undefined);
  const home = database && (await findHome(database.sql).catch(() => undefined));
  switch (state) {
    case SQLSTATE.serializationFailure: {
      if (!home?.isStandby) return error;
      const hint =
        'The primary removed rows that the query still needed. Run it again, read from the primary, or set on the standby\n' +
        'hot_standby_feedback = on or a longer max_standby_streaming_delay.';
      return new KlinekeepError('later', `The standby cancelled a query: ${text}`, {
        hint,
        cause: error,
      });
    }
    case SQLSTATE.readOnlySqlTransaction: {
      const primary = 'Set DATABASE_URL to the primary server, not to a replica.';
      const hint = (home && whyReadOnly(home)?.hint) ?? primary;
      return configError(`Cannot write: ${text}`, hint, error);
    }
    default: {
      const owner = home?.owner ? ` (${home.owner})` : '';
      const hint =
        (home && (await missingPrivilege(text, database, home).catch(() => undefined))) ??
        `Connect as the role that owns klinekeep's tables${owner}, or have it grant the privilege.`;
      const message = `PostgreSQL refused a statement: ${text}`;
      return configError(message, hint, error);
    }
  }
}

/** Finds the refused object in PostgreSQL's text, which may be in any language, by the words in it. */
async function missingPrivilege(
  text: string,
  { sql }: Database,
  { role, schema = '' }: Home,
): Promise<string | undefined> {
  const to = quote(role);
  const rows = await runSql<{
    kind: string;
    name: string;
    owner: string;
    privileges: string | null;
  }>(sql, 'postgres/missing_privileges.sql', { words: text.replaceAll(/["'„“«»().]/g, ' ') });
  const isOwnership = /must be owner|owner of/i.test(text);
  const lines = rows.map(({ kind, name, owner, privileges }) =>
    isOwnership || privileges === null
      ? `${name} belongs to ${owner}: connect as ${owner}, or: grant ${quote(owner)} to ${to};`
      : `Missing: ${privileges.toUpperCase()} on ${name}. As ${owner}: grant ${privileges} on ${kind} ${name} to ${to};`,
  );
  if (rows.some(({ privileges }) => privileges === 'select'))
    lines.push(`Or of all tables: grant select on all tables in schema ${quote(schema)} to ${to};`);
  return lines.length > 0 ? lines.join('\n') : undefined;
}
