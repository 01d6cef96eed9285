/** Checks that klinekeep's tables can be created, found and written, or says what to do. */
import { configError, type KlinekeepError } from '../base/mod.ts';
import { type Home, quote, whyReadOnly } from './home.ts';
import { runSql, type Sql } from './sql-file.ts';

const searchPathOption = (schema: string) =>
  `DATABASE_URL=…?options=-csearch_path%3D${encodeURIComponent(schema)}`;

const ownSchemaHint = (role: string) =>
  `Give klinekeep a schema of its own: create schema klines authorization ${role}; and ${searchPathOption('klines')}`;

/**
 * Checks that schema files can be applied to a database that has none of our tables yet.
 * @throws KlinekeepError (78) with what is missing
 */
export async function assertCanInstall(sql: Sql, home: Home): Promise<void> {
  const { role, searchPath, currentSchema, otherHomes } = home;
  const first = firstOnPath(searchPath);
  if (currentSchema === undefined || (first !== undefined && !home.usable.includes(first)))
    throw await missingSchema(sql, home, first);
  const readOnly = whyReadOnly(home);
  if (!readOnly && home.mayCreate) return;
  const found = readOnly?.found ?? `role ${role} may not create tables in schema ${currentSchema}`;
  const elsewhere =
    otherHomes &&
    `Schema ${otherHomes} has tables of klinekeep. To use them: ${searchPathOption(otherHomes.split(', ')[0] as string)}`;
  throw configError(
    `There are no tables of klinekeep on search_path (${searchPath}), and ${found}.`,
    elsewhere ??
      readOnly?.hint ??
      `${ownSchemaHint(quote(role))}\nor grant the privilege: grant create on schema ${quote(currentSchema)} to ${quote(role)};`,
  );
}

async function missingSchema(
  sql: Sql,
  home: Home,
  first: string | undefined,
): Promise<KlinekeepError> {
  const [schema] = (await runSql(sql, 'postgres/missing_schema.sql', {
    schema: first ?? home.role,
  })) as [{ there: boolean; quoted: string; role: string }];
  const { there, quoted, role } = schema;
  if (first !== undefined && there) {
    return configError(
      `search_path begins with schema ${first}, which role ${home.role} may not use.`,
      `As its owner: grant usage, create on schema ${quoted} to ${role};`,
    );
  }
  return configError(
    first === undefined
      ? `No schema on search_path (${home.searchPath}) exists in database ${home.database}.`
      : `search_path begins with schema ${first}, which does not exist in database ${home.database}.`,
    `Create it: create schema ${quoted} authorization ${role};\n` +
      'or change search_path (in DATABASE_URL: ?options=-csearch_path%3D…, or alter role … set search_path).',
  );
}

/** The schema that search_path names first; undefined for "$user", which need not exist. */
function firstOnPath(searchPath: string): string | undefined {
  const [, quoted, plain] = /^\s*(?:"((?:[^"]|"")*)"|([^,\s]+))/.exec(searchPath) ?? [];
  const name = quoted?.replaceAll('""', '"') ?? plain;
  return name === undefined || name === '' || name === '$user' ? undefined : name;
}

/** Names that the schema files create, separated by commas. */
export interface SchemaNames {
  relations: string;
  functions: string;
}

/** Finds the names that schema files create in their text. */
export function readNames(texts: readonly string[]): SchemaNames {
  const created =
    /^create\s+(?:or\s+replace\s+)?(?:unlogged\s+|unique\s+|materialized\s+)?(table|view|index|function|type|domain|sequence)\s+(?:if\s+not\s+exists\s+)?(\w+)/gim;
  const found = texts.flatMap((text) => [...text.matchAll(created)]);
  const listNames = (isFunction: boolean) =>
    found
      .filter(([, kind, name]) => (kind === 'function') === isFunction && name !== 'on')
      .map(([, , name]) => name)
      .join(',');
  return { relations: `schema_files,${listNames(false)}`, functions: listNames(true) };
}

/**
 * Checks that nothing else has the names that schema files create.
 * @throws KlinekeepError (78) naming each that is taken
 */
export async function assertNamesFree(sql: Sql, home: Home, names: SchemaNames): Promise<void> {
  const taken = await runSql<{ kind: string; name: string }>(sql, 'postgres/taken_names.sql', {
    ...names,
  });
  if (taken.length === 0) return;
  const list = taken.map(({ kind, name }) => `${kind} ${name}`).join(', ');
  throw configError(
    `Cannot create klinekeep's tables in schema ${home.currentSchema}: the names of ${list} are taken. Nothing was created.`,
    ownSchemaHint(quote(home.role)),
  );
}

/**
 * Checks that our names find our tables, not those of a schema that search_path names earlier.
 * @throws KlinekeepError (78) naming the tables that hide ours
 */
export async function assertNotHidden(sql: Sql, home: Home, names: SchemaNames): Promise<void> {
  if (!home.hasEarlierSchemas || home.schema === undefined) return;
  const hidden = await runSql<{ name: string }>(sql, 'postgres/hidden_names.sql', {
    ...names,
    home: home.schema,
  });
  if (hidden.length === 0) return;
  const list = hidden.map(({ name }) => name).join(', ');
  throw configError(
    `The tables of klinekeep are in schema ${home.schema}, but search_path (${home.searchPath}) finds others first: ${list}.`,
    `Name ${home.schema} first: ${searchPathOption(home.schema)}`,
  );
}

/**
 * Checks that the session may write candles.
 * @throws KlinekeepError (78) naming the standby, the setting or the missing privilege
 */
export function assertWritable(home: Home): void {
  const readOnly = whyReadOnly(home);
  if (readOnly) throw configError(`Cannot write: ${readOnly.found}.`, readOnly.hint);
  if (home.isOwner || home.mayWriteCandles) return;
  const owner = home.owner ?? '';
  throw configError(
    `Cannot write: role ${home.role} has no INSERT privilege on klines, which ${owner} owns.`,
    `Connect as ${owner}, or: grant ${quote(owner)} to ${quote(home.role)};`,
  );
}
