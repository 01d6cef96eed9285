/** Whether klinekeep's tables can be created, found and written; if not, what to do. */
import { KlinekeepError } from '../base/mod.ts';
import { type Home, quote, whyReadOnly } from './home.ts';
import { runSql, type Sql } from './sql-file.ts';

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
    'postgres/missing_schema.sql',
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
  const taken = await runSql<{ kind: string; name: string }>(sql, 'postgres/taken_names.sql', {
    ...names,
  });
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
  const hidden = await runSql<{ name: string }>(sql, 'postgres/hidden_names.sql', {
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
