import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { migrate } from '../../lib/postgres/migrate.ts';
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
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(SCHEMA)) await copyFile(join(SCHEMA, name), join(folder, name));
  return folder;
}

test('an empty database gets every file once, in order', async () => {
  const sql = await connectEmpty();
  const files = (await readdir(SCHEMA)).sort();
  expect(await migrate(sql)).toEqual(files);
  expect(await migrate(sql)).toEqual([]);
  const rows = await sql`select name from schema_files order by name`;
  expect(rows.map((row) => row.name)).toEqual(files);
});

test('scripts that start at the same moment apply the files once between them', async () => {
  const url = await emptyDatabase();
  const clients = Array.from({ length: 4 }, () => postgres(url, { max: 1, onnotice: () => {} }));
  const applied = await Promise.all(clients.map((sql) => migrate(sql)));
  await Promise.all(clients.map((sql) => sql.end()));
  expect(applied.flat().sort()).toEqual((await readdir(SCHEMA)).sort());
});

test('an applied file that was edited is refused, by name', async () => {
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

test('a database that is newer than the code is refused, by script too', async () => {
  const url = await emptyDatabase();
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  await migrate(sql);
  await sql`insert into schema_files (name, sha256) values ('999_future.sql', 'x')`;
  await sql.end();
  const result = await runScript('verify-integrity', [], { DATABASE_URL: url });
  expect(result.exitCode).toBe(EXIT.config);
  expect(result.stderr).toContain('newer than this checkout: it holds 999_future.sql');
  expect(result.stdout).toBe('');
});

test('a file that fails leaves nothing of itself, keeps what came before, and is shown with line and caret', async () => {
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
