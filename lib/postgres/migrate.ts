import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type postgres from 'postgres';
import { configError, PROJECT_DIR } from '../base/mod.ts';
import { createIn, findHome, type Home, whyReadOnly } from './home.ts';
import { assertCanInstall, assertNamesFree, assertNotHidden, readNames } from './home-checks.ts';
import { explainSqlError, type Sql } from './sql-file.ts';

/**
 * 'klin' in ASCII. It cannot be the lock of an instrument, since those have two numbers. Two klinekeeps in
 * schemas of one database share it: one waits while the other applies its files.
 */
const MIGRATION_LOCK = 0x6b6c696e;

interface SchemaFile {
  name: string;
  text: string;
  sha256: string;
}

/**
 * Applies the schema files that were not yet applied to this database, in the order of their names,
 * each in its own transaction. Several scripts may call this at once: one applies, the others wait.
 * @returns the names of the files applied now
 * @throws KlinekeepError (78) if an applied file was edited, or files were applied that this checkout
 * does not have; (1) with file, line and caret if a file fails.
 */
export async function migrate(
  sql: postgres.Sql,
  folder = resolve(PROJECT_DIR, 'sql/schema'),
): Promise<string[]> {
  const files = readSchemaFiles(folder);
  const names = readNames(files.map((file) => file.text));
  const home = await findHome(sql);
  if (home.schema === undefined) await assertCanInstall(sql, home);
  else {
    await assertNotHidden(sql, home, names);
    // A role that may only read candles cannot find out which files are pending, and need not.
    if (!home.mayReadFiles) return [];
    const pending = pendingFiles(files, await appliedHashes(sql));
    if (pending.length === 0) return [];
    assertCanExtend(home, pending);
  }

  const applied: string[] = [];
  while (true) {
    const name = await sql.begin(async (tx) => {
      await tx`set local lock_timeout = '60s'`;
      await tx`select pg_advisory_xact_lock(${MIGRATION_LOCK})`;
      // Another script may have created everything while this one waited.
      const { schema, currentSchema } = await findHome(tx);
      if (schema === undefined) await assertNamesFree(tx, home, names);
      else await createIn(tx, schema === currentSchema ? undefined : schema);
      await tx`
        create table if not exists schema_files (
          name text primary key,
          sha256 text not null,
          applied_at timestamptz not null default now()
        )`;
      const [next] = pendingFiles(files, await appliedHashes(tx));
      if (!next) return undefined;
      try {
        await tx.unsafe(next.text);
      } catch (error) {
        throw explainSqlError(error, `sql/schema/${next.name}`, next.text);
      }
      await tx`insert into schema_files (name, sha256) values (${next.name}, ${next.sha256})`;
      return next.name;
    });
    if (name === undefined) return applied;
    applied.push(name);
  }
}

/** @throws KlinekeepError (78) if this role, or this server, cannot apply the pending files */
function assertCanExtend(home: Home, pending: readonly SchemaFile[]): void {
  const readOnly = whyReadOnly(home);
  if (!readOnly && home.isOwner && home.mayExtend) return;
  const found = readOnly
    ? readOnly.found
    : home.isOwner
      ? `role ${home.role} may not create tables in schema ${home.schema}`
      : `role ${home.role} does not own the tables`;
  throw configError(
    `Schema files are pending (${pending.map((file) => file.name).join(', ')}), and ${found}.`,
    home.isOwner && !readOnly
      ? `Allow it: grant create on schema ${home.schema} to ${home.role};`
      : `Run any verb, such as status, on the primary server as ${home.owner}: it applies them.`,
  );
}

function readSchemaFiles(folder: string): SchemaFile[] {
  return readdirSync(folder)
    .filter((name) => /^\d{3}_\w+\.sql$/.test(name))
    .sort()
    .map((name) => {
      const text = readFileSync(resolve(folder, name), 'utf8').replaceAll('\r\n', '\n');
      return { name, text, sha256: createHash('sha256').update(text).digest('hex') };
    });
}

async function appliedHashes(sql: Sql): Promise<Map<string, string>> {
  const rows = await sql`select name, sha256 from schema_files`;
  return new Map(rows.map((row) => [row.name, row.sha256]));
}

function pendingFiles(
  files: readonly SchemaFile[],
  applied: ReadonlyMap<string, string>,
): SchemaFile[] {
  for (const file of files) {
    const hash = applied.get(file.name);
    if (hash !== undefined && hash !== file.sha256) {
      throw configError(
        `sql/schema/${file.name} was edited after it was applied to this database.`,
        `Undo the edit (git checkout sql/schema/${file.name}) and write a new, higher numbered file instead.`,
      );
    }
  }
  const known = new Set(files.map((file) => file.name));
  const newer = [...applied.keys()].filter((name) => !known.has(name)).sort();
  if (newer.length > 0) {
    throw configError(
      `This database is newer than this checkout: it has ${newer.join(', ')}, which sql/schema/ does not.`,
      'Update the checkout (git pull), or point DATABASE_URL at another database.',
    );
  }
  return files.filter((file) => !applied.has(file.name));
}
