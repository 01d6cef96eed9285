import { copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import postgres from 'postgres';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { migrate } from '../../lib/postgres/migrate.ts';
import { runSql } from '../../lib/postgres/sql-file.ts';
import { emptyDatabase } from '../support/database.ts';
import { runScript } from '../support/script.ts';

const SCHEMA = resolve(PROJECT_DIR, 'sql/schema');

async function connectEmpty(): Promise<postgres.Sql> {
  const sql = postgres(await emptyDatabase(), { max: 2, onnotice: () => {} });
  onTestFinished(() => sql.end());
  return sql;
}

/** A copy of the schema files, to edit. */
async function copySchema(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-schema-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const name of await readdir(SCHEMA)) await copyFile(join(SCHEMA, name), join(folder, name));
  return folder;
}

describe('migrate()', () => {
  test('applies every file once to an empty database, in order', async () => {
    const sql = await connectEmpty();
    const files = (await readdir(SCHEMA)).sort();
    expect(await migrate(sql)).toEqual(files);
    expect(await migrate(sql)).toEqual([]);
    const rows = await sql`select name from schema_files order by name`;
    expect(rows.map((row) => row.name)).toEqual(files);
  });

  test('applies each file once when scripts start at the same moment', async () => {
    const url = await emptyDatabase();
    const clients = Array.from({ length: 4 }, () => postgres(url, { max: 1, onnotice: () => {} }));
    const applied = await Promise.all(clients.map((sql) => migrate(sql)));
    await Promise.all(clients.map((sql) => sql.end()));
    expect(applied.flat().sort()).toEqual((await readdir(SCHEMA)).sort());
  });

  test('refuses a file that was edited after it was applied, by name', async () => {
    const sql = await connectEmpty();
    const folder = await copySchema();
    await migrate(sql, folder);
    await writeFile(join(folder, '002_klines.sql'), '-- something else\nselect 1;\n');
    await expect(migrate(sql, folder)).rejects.toMatchObject({
      exitCode: EXIT.config,
      message: expect.stringContaining('002_klines.sql was edited'),
      hint: expect.stringContaining('new, higher numbered file'),
    });
  });

  test('refuses a database that is newer than the code, in a script too', async () => {
    const url = await emptyDatabase();
    const sql = postgres(url, { max: 1, onnotice: () => {} });
    await migrate(sql);
    await sql`insert into schema_files (name, sha256) values ('999_future.sql', 'x')`;
    await sql.end();
    const result = await runScript('verify-integrity', [], { DATABASE_URL: url });
    expect(result.exitCode).toBe(EXIT.config);
    expect(result.stderr).toContain('newer than this checkout: it has 999_future.sql');
    expect(result.stdout).toBe('');
  });

  test('rolls back a file that fails, keeps those before it, and points at the error', async () => {
    const sql = await connectEmpty();
    const folder = await copySchema();
    await writeFile(
      join(folder, '900_broken.sql'),
      '-- broken\ncreate table half_made (id int);\n\ncreate table other (id no_such_type);\n',
    );
    const error = await migrate(sql, folder).catch((thrown) => thrown);
    expect(error.message).toContain(
      'sql/schema/900_broken.sql:4: type "no_such_type" does not exist',
    );
    expect(error.message).toContain('    4 | create table other (id no_such_type);');
    const [, , caret] = error.message.split('\n');
    expect(caret.indexOf('^')).toBe('    4 | create table other (id '.length);
    const [left] =
      await sql`select to_regclass('half_made') as half_made, to_regclass('klines') as klines`;
    expect(left).toEqual({ half_made: null, klines: 'klines' });
  });
});

describe('schema', () => {
  test('every table, view, column and function has a comment', async () => {
    const sql = await connectEmpty();
    await migrate(sql);
    const values = { hot: 'btc_usdt', archive: 'btc_usdt_archive', instrument_id: 1 };
    await runSql(sql, ['store/create_table.sql', 'archive/create_archive_table.sql'], values);
    const bare = await sql`
      select c.relname as name
      from pg_class c
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
        and not c.relispartition and obj_description(c.oid, 'pg_class') is null
      union all
      select format('%s.%s', c.relname, a.attname)
      from pg_class c
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
        and col_description(c.oid, a.attnum) is null
      union all
      select proname
      from pg_proc p
      where p.pronamespace = 'public'::regnamespace and obj_description(p.oid, 'pg_proc') is null`;
    expect(bare.map(({ name }) => name)).toEqual([]);
  });
});
