/** Where klinekeep's tables are in a database, and whether they can be created or changed there. */
import { KlinekeepError } from '../errors.ts';
import { runSql, type Sql } from '../sql-file.ts';

/** A row of sql/home/find.sql. */
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
  const [row] = await runSql<HomeRow>(sql, 'home/find.sql');
  if (row === undefined) throw new Error('sql/home/find.sql returned no row');
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

/**
 * That schema files can be applied to a database that has none of our tables yet.
 * @throws KlinekeepError (78) with what is missing
 */
export async function assertCanInstall(sql: Sql, home: Home): Promise<void> {
  const first = firstOnPath(home.searchPath);
  if (home.currentSchema === undefined || (first !== undefined && !home.usable.includes(first))) {
    throw await missingSchema(sql, home, first);
  }
  const readOnly = whyReadOnly(home);
  const role = quote(home.role);
  const schema = quote(home.currentSchema);
  const elsewhere =
    home.otherHomes &&
    `Tables of klinekeep are in ${home.otherHomes}: if they are meant, add ?options=-csearch_path%3D${encodeURIComponent(home.otherHomes.split(', ')[0] ?? '')} to DATABASE_URL.`;
  if (readOnly) {
    throw new KlinekeepError(
      'config',
      `There are no tables of klinekeep on search_path (${home.searchPath}), and ${readOnly.found}.`,
      { hint: elsewhere || readOnly.hint },
    );
  }
  if (!home.mayCreate) {
    throw new KlinekeepError(
      'config',
      `There are no tables of klinekeep on search_path (${home.searchPath}), and role ${home.role} may not create any in schema ${home.currentSchema}.`,
      {
        hint:
          elsewhere ||
          `Give it a schema of its own: create schema klines authorization ${role}; and DATABASE_URL=…?options=-csearch_path%3Dklines\n` +
            `or the privilege: grant create on schema ${schema} to ${role};`,
      },
    );
  }
}

async function missingSchema(
  sql: Sql,
  home: Home,
  first: string | undefined,
): Promise<KlinekeepError> {
  const [found] = await runSql<{ there: boolean; quoted: string; role: string }>(
    sql,
    'home/missing_schema.sql',
    { schema: first ?? home.role },
  );
  const { there = false, quoted = '', role = '' } = found ?? {};
  if (first !== undefined && there) {
    return new KlinekeepError(
      'config',
      `search_path begins with schema ${first}, which role ${home.role} may not use.`,
      { hint: `As its owner: grant usage, create on schema ${quoted} to ${role};` },
    );
  }
  return new KlinekeepError(
    'config',
    first === undefined
      ? `No schema on search_path (${home.searchPath}) exists in database ${home.database}.`
      : `search_path begins with schema ${first}, which does not exist in database ${home.database}.`,
    {
      hint:
        `Create it: create schema ${quoted} authorization ${role};\n` +
        'or change search_path (in DATABASE_URL: ?options=-csearch_path%3D…, or alter role … set search_path).',
    },
  );
}

/** The schema that search_path names first; undefined for "$user", which need not be there. */
function firstOnPath(searchPath: string): string | undefined {
  const [, quoted, plain] = /^\s*(?:"((?:[^"]|"")*)"|([^,\s]+))/.exec(searchPath) ?? [];
  const name = quoted?.replaceAll('""', '"') ?? plain;
  return name === undefined || name === '' || name === '$user' ? undefined : name;
}

/** Names that the schema files create. */
export interface SchemaNames {
  relations: string;
  functions: string;
}

/** Reads from the text of schema files which names they create. */
export function readNames(texts: readonly string[]): SchemaNames {
  const created =
    /^create\s+(?:or\s+replace\s+)?(?:unlogged\s+|unique\s+|materialized\s+)?(table|view|index|function|type|domain|sequence)\s+(?:if\s+not\s+exists\s+)?(\w+)/gim;
  const found = texts.flatMap((text) => [...text.matchAll(created)]);
  const namesOf = (isFunction: boolean) =>
    found
      .filter(([, kind, name]) => (kind === 'function') === isFunction && name !== 'on')
      .map(([, , name]) => name)
      .join(',');
  return { relations: `schema_files,${namesOf(false)}`, functions: namesOf(true) };
}

/**
 * That nothing else has the names that schema files want to create.
 * @throws KlinekeepError (78) naming each
 */
export async function assertNamesFree(sql: Sql, home: Home, names: SchemaNames): Promise<void> {
  const taken = await runSql<{ kind: string; name: string }>(sql, 'home/taken.sql', { ...names });
  if (taken.length === 0) return;
  const list = taken.map(({ kind, name }) => `${kind} ${name}`).join(', ');
  throw new KlinekeepError(
    'config',
    `Schema ${home.currentSchema} has things of the same names as klinekeep's tables: ${list}. Nothing was created.`,
    {
      hint:
        `Give klinekeep a schema of its own: create schema klines authorization ${quote(home.role)};\n` +
        'and DATABASE_URL=…?options=-csearch_path%3Dklines',
    },
  );
}

/**
 * That our names stand for our tables, not for something in a schema that comes before.
 * @throws KlinekeepError (78) naming what hides them
 */
export async function assertNotHidden(sql: Sql, home: Home, names: SchemaNames): Promise<void> {
  if (!home.hasEarlierSchemas || home.schema === undefined) return;
  const hidden = await runSql<{ name: string }>(sql, 'home/hidden.sql', {
    ...names,
    home: home.schema,
  });
  if (hidden.length === 0) return;
  throw new KlinekeepError(
    'config',
    `The tables of klinekeep are in schema ${home.schema}, but search_path (${home.searchPath}) finds others first: ${hidden.map(({ name }) => name).join(', ')}.`,
    {
      hint: `Put ${home.schema} first: DATABASE_URL=…?options=-csearch_path%3D${encodeURIComponent(home.schema)}`,
    },
  );
}

/** What this transaction creates from now on lands in this schema; undefined: it does already. */
export async function createIn(tx: Sql, home: string | undefined): Promise<void> {
  if (home === undefined) return;
  await tx`
    select set_config(
      'search_path', quote_ident(${home}) || ', ' || current_setting('search_path'), true
    )`;
}

/** As PostgreSQL would quote an identifier. */
export function quote(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/**
 * That the session may write candles.
 * @throws KlinekeepError (78) naming the standby, the setting or the privilege that is in the way
 */
export async function assertWritable(sql: Sql, home: Home): Promise<void> {
  const readOnly = whyReadOnly(home);
  if (readOnly)
    throw new KlinekeepError('config', `Cannot write: ${readOnly.found}.`, { hint: readOnly.hint });
  if (home.isOwner) return;
  const [row] = await sql`select has_table_privilege('klines', 'insert') as may`;
  if (row?.may) return;
  throw new KlinekeepError(
    'config',
    `Cannot write: role ${home.role} has no INSERT privilege on klines, which ${home.owner} owns.`,
    {
      hint: `Connect as ${home.owner}, or: grant ${quote(home.owner ?? '')} to ${quote(home.role)};`,
    },
  );
}

/** Whether the session may note its runs in the table `runs`. */
export async function mayNoteRuns(sql: Sql, home: Home): Promise<boolean> {
  if (home.isStandby || home.isReadOnly) return false;
  if (home.isOwner) return true;
  const [row] =
    await sql`select coalesce(has_table_privilege(to_regclass('runs'), 'insert'), false) as may`;
  return row?.may;
}
