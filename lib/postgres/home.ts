/** Where klinekeep's tables are in a database, and what this session may do with them. */
import { runSql, type Sql } from './sql-file.ts';

/** A row of sql/postgres/find_home.sql, without nulls. */
export interface Home {
  /** The schema that holds our tables. Undefined: none does yet. */
  schema?: string;
  /** The schema for new tables. Undefined: no schema on search_path can be used. */
  currentSchema?: string;
  searchPath: string;
  /** The schemas on search_path that exist and that the role may use. */
  usable: string[];
  role: string;
  database: string;
  /** The server is a hot standby, where nothing can be written. */
  isStandby: boolean;
  /** The session may not write: a standby, or default_transaction_read_only. */
  isReadOnly: boolean;
  mayCreate: boolean;
  owner?: string;
  isOwner: boolean;
  /** May create tables in `schema`. */
  mayExtend: boolean;
  mayReadFiles: boolean;
  /** Has the privilege to insert into `klines`. */
  mayWriteCandles: boolean;
  /** Has the privilege to insert into `runs`. */
  mayWriteRuns: boolean;
  /** Whether search_path names a schema before ours. */
  hasEarlierSchemas?: boolean;
  /** Schemas that hold tables of klinekeep but are not on search_path, separated by commas. */
  otherHomes?: string;
}

export async function findHome(sql: Sql): Promise<Home> {
  const [home] = (await runSql<Home>(sql, 'postgres/find_home.sql')) as [Home];
  for (const [name, value] of Object.entries(home))
    if (value === null) Reflect.deleteProperty(home, name);
  return home;
}

/** @returns why the session cannot write and what to do; undefined: the server allows writes */
export function whyReadOnly(home: Home): { found: string; hint: string } | undefined {
  if (home.isStandby) {
    return {
      found: 'this server is a standby, which is read-only',
      hint: 'Point DATABASE_URL at the primary server. candles, status, report, metrics, archive-log, repairs and verify also run here.',
    };
  }
  if (!home.isReadOnly) return undefined;
  return {
    found: `role ${home.role} may only read here (default_transaction_read_only is on)`,
    hint: `Connect as another role, or allow it: alter role ${quote(home.role)} set default_transaction_read_only = off;`,
  };
}

/** Makes the rest of this transaction create its objects in a schema. Undefined: no change. */
export async function createIn(tx: Sql, home: string | undefined): Promise<void> {
  if (home === undefined) return;
  await tx`
    select set_config(
      'search_path', quote_ident(${home}) || ', ' || current_setting('search_path'), true
    )`;
}

/** Quotes a name if it needs quotes, for a statement that a person will run. */
export function quote(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
