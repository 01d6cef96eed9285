/** Where klinekeep's tables are in a database, and what this session may do there. */
import { runSql, type Sql } from './sql-file.ts';

/** A row of sql/postgres/find_home.sql. */
interface HomeRow {
  role: string;
  database: string;
  search_path: string;
  current_schema: string | null;
  schemas: string;
  is_standby: boolean;
  is_read_only: boolean;
  may_create: boolean;
  home: string | null;
  has_earlier_schemas: boolean | null;
  owner: string | null;
  is_owner: boolean;
  may_extend: boolean;
  may_read_files: boolean;
  other_homes: string | null;
}

export interface Home {
  /** The schema that holds our tables; undefined: there are none yet. */
  schema: string | undefined;
  /** Where new tables land; undefined: no schema on search_path can be used. */
  currentSchema: string | undefined;
  searchPath: string;
  /** The schemas on search_path that are there and that the role may use. */
  usable: string[];
  role: string;
  database: string;
  /** A hot standby: nothing can be written. */
  isStandby: boolean;
  /** The session may not write: a standby, or default_transaction_read_only. */
  isReadOnly: boolean;
  mayCreate: boolean;
  owner: string | undefined;
  isOwner: boolean;
  /** May create tables in `schema`. */
  mayExtend: boolean;
  mayReadFiles: boolean;
  /** Some schema comes before ours. */
  hasEarlierSchemas: boolean;
  /** Schemas off the search_path that hold tables of klinekeep, with commas. */
  otherHomes: string | undefined;
}

export async function findHome(sql: Sql): Promise<Home> {
  const [row] = await runSql<HomeRow>(sql, 'postgres/find_home.sql');
  if (row === undefined) throw new Error('sql/postgres/find_home.sql returned no row');
  return {
    schema: row.home ?? undefined,
    currentSchema: row.current_schema ?? undefined,
    searchPath: row.search_path,
    usable: JSON.parse(row.schemas),
    role: row.role,
    database: row.database,
    isStandby: row.is_standby,
    isReadOnly: row.is_read_only,
    mayCreate: row.may_create,
    owner: row.owner ?? undefined,
    isOwner: row.is_owner,
    mayExtend: row.may_extend,
    mayReadFiles: row.may_read_files,
    hasEarlierSchemas: row.has_earlier_schemas ?? false,
    otherHomes: row.other_homes ?? undefined,
  };
}

/** Why the session cannot write, and what to do; undefined: it can, as far as the server goes. */
export function whyReadOnly(home: Home): { found: string; hint: string } | undefined {
  if (home.isStandby) {
    return {
      found: 'this server is a standby, which can only be read',
      hint: 'Point DATABASE_URL at the primary server. candles, status, report, metrics, archive-log and verify also run here.',
    };
  }
  if (!home.isReadOnly) return undefined;
  return {
    found: `role ${home.role} may only read here (default_transaction_read_only is on)`,
    hint: `Connect as another role, or allow it: alter role ${quote(home.role)} set default_transaction_read_only = off;`,
  };
}

/** What this transaction creates from now on lands in this schema; undefined: it does already. */
export async function createIn(tx: Sql, home: string | undefined): Promise<void> {
  if (home === undefined) return;
  await tx`
    select set_config(
      'search_path', quote_ident(${home}) || ', ' || current_setting('search_path'), true
    )`;
}

/** A name for a statement that a person is to run: quoted only where it has to be. */
export function quote(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** Whether the session may note its runs in the table `runs`. */
export async function mayNoteRuns(sql: Sql, home: Home): Promise<boolean> {
  if (home.isStandby || home.isReadOnly) return false;
  if (home.isOwner) return true;
  const [row] =
    await sql`select coalesce(has_table_privilege(to_regclass('runs'), 'insert'), false) as may`;
  return row?.may;
}
