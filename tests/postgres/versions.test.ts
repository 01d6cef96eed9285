/** One database on two versions of PostgreSQL: what one has archived, the other one verifies. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { startEmbedded, stopEmbedded } from '../../lib/embedded/cluster.ts';
import { assertSupported, checkServer } from '../../lib/postgres/server.ts';
import { runSql, type Sql } from '../../lib/postgres/sql-file.ts';
import { listInstruments } from '../../lib/store/instruments.ts';
import { emptyDatabase, freshDatabase, type TestDatabase } from '../support/database.ts';
import { fetchReference } from '../support/reference.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';
import { canStart, findVersion } from '../support/versions.ts';

const PLACES = Object.keys(inject('templateUrls'));
const isPair = PLACES.includes('18') && PLACES.length > 1;
/** 18 to each other version, and back. */
const PAIRS = PLACES.filter((place) => place !== '18').flatMap((place) => [
  ['18', place] as const,
  [place, '18'] as const,
]);

/** Columns that a user may add, by type, with values worth a test. */
const NATIVE: Record<string, string[]> = {
  boolean: ['true', 'false'],
  date: ['2024-02-29', '0044-03-15 BC', 'infinity', '-infinity'],
  bytea: ['\\x00ff10', '\\x'],
  time: ['12:34:56.789'],
  timetz: ['12:34:56+05:30'],
  timestamp: ['2024-02-29 12:34:56.789', 'infinity'],
  timestamptz: ['2024-02-29 12:34:56.789+00', '0044-03-15 00:00:00+00 BC', 'infinity', '-infinity'],
  interval: ['1 year 2 days 03:04:05', '-1 day'],
  uuid: ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  jsonb: ['{"b": [1, 2.50, null, true, "é"], "a": {}}', '"text"'],
  smallint: ['-7'],
  bigint: ['-9007199254740993'],
  numeric: ['1.50', 'NaN', 'infinity', '-0.00000001'],
  real: ['0.1', 'NaN', '-0'],
  'double precision': ['0.1', '1e-300', 'NaN', '-infinity'],
  text: ['Größe', ''],
  'text collate any_case': ['Größe', 'GRÖSSE'],
  'varchar(9)': ['abc'],
  'char(9)': ['abc'],
  name: ['abc'],
  '"char"': ['x'],
  oid: ['4000000000'],
  xid8: ['4000000000'],
  inet: ['::1/64', '10.0.0.1'],
  macaddr: ['08:00:2b:01:02:03'],
  pg_lsn: ['16/B374D848'],
  feeling: ['happy', 'sad'],
  workday: ['2024-02-29'],
  later_workday: ['2024-02-29'],
  ratio: ['0.1'],
  'boolean[]': ['{t,f,NULL}'],
  'date[]': ['{2024-02-29,NULL}', '{}'],
  'double precision[]': ['{0.1,NaN}', '{{1,2},{3,4}}'],
  'timestamptz[]': ['{2024-02-29 12:34:56+00}'],
  'bytea[]': ['{"\\\\xff00"}'],
  'text[]': ['{a,"b c",NULL}'],
  'text[] collate any_case': ['{a,B}'],
  'feeling[]': ['{sad,happy}'],
  int4range: ['[1,5)', 'empty'],
  tstzrange: ['[2024-01-01 00:00:00+00,)'],
  datemultirange: ['{[2024-01-01,2024-02-01)}'],
};

/** Hashed as text, which is the same as long as the connection's settings are. */
const AS_TEXT: Record<string, string[]> = {
  json: ['{"b": 1}'],
  money: ['1234.56'],
  point: ['(0.1,2)'],
  'bit(3)': ['101'],
  tsvector: ["'a':1 'b'"],
  pair: ['(2024-02-29,0.1)'],
  'workday[]': ['{2024-02-29}'],
};

/** The table `every_type` with the columns, and of each column the hashes of its values and of null. */
async function hashes(
  sql: Sql,
  types: Record<string, string[]>,
): Promise<Record<string, string[]>> {
  const columns = await runSql<{ name: string; hash: string }>(sql, 'archive/columns.sql', {
    table: 'every_type',
  });
  const found: Record<string, string[]> = {};
  for (const [index, type] of Object.keys(types).entries()) {
    const column = columns[index]!;
    const rows = await sql.unsafe(
      `select ${column.hash}::text as hash from every_type where row in (${index}, -1) order by row, nth`,
    );
    found[type] = rows.map((row) => row.hash);
  }
  return found;
}

async function makeTable(sql: postgres.Sql, types: Record<string, string[]>): Promise<void> {
  // Its oids differ from server to server, and from those of a database that was restored.
  await sql.unsafe(`
    create type feeling as enum ('sad', 'happy');
    create domain workday as date;
    create domain later_workday as workday;
    create domain ratio as double precision;
    create type pair as (day date, share double precision);
    create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);`);
  const names = Object.keys(types).map((type, index) => [`"Column ${index}"`, type] as const);
  await sql.unsafe(
    `create table every_type (${names.map((each) => each.join(' ')).join(', ')}, row int, nth int)`,
  );
  await sql`insert into every_type (row) values (-1)`;
  for (const [row, [name, type]] of names.entries()) {
    for (const [nth, value] of types[type]!.entries()) {
      await sql.unsafe(
        `insert into every_type (${name}, row, nth) values ($1::text::${type.replace(/ collate .*/, '')}, ${row}, ${nth})`,
        [value],
      );
    }
  }
}

const note = isPair ? '' : ' (skipped: needs servers of 18 and another version)';

describe.skipIf(!isPair)(`versions${note}`, () => {
  test('hashes of every type are the same on all versions', async () => {
    const types = { ...NATIVE, ...AS_TEXT };
    const all: Record<string, Record<string, string[]>> = {};
    for (const place of PLACES) {
      const { sql } = await freshDatabase(place);
      // As many oids as another database may have used up.
      if (place === '18') await sql`create type unrelated as enum ('a', 'b', 'c')`;
      await makeTable(sql, types);
      all[place] = await hashes(sql, types);
    }
    for (const place of PLACES) expect(all[place], place).toEqual(all['18']);
    expect(new Set(Object.values(all['18']!).flat()).size).toBeGreaterThan(70);
  });

  test.each(PLACES)('hashes do not depend on settings of the connection on %s', async (place) => {
    const { sql } = await freshDatabase(place);
    await makeTable(sql, NATIVE);
    const wanted = await hashes(sql, NATIVE);
    const found = await sql.begin(async (tx) => {
      await tx.unsafe(`
        set local datestyle = 'German, DMY'; set local bytea_output = escape;
        set local extra_float_digits = -10; set local intervalstyle = sql_standard;
        set local timezone = 'Asia/Kolkata'; set local quote_all_identifiers = on`);
      return await hashes(tx, NATIVE);
    });
    expect(found).toEqual(wanted);
  });

  test.each(PAIRS)(
    'what %s has archived is verified, restored and archived on %s',
    async (from, to) => {
      const fake = await startExchange({ nowMs: Date.parse('2024-06-01') });
      const [source, target] = [await freshDatabase(from), await freshDatabase(to)];
      const run = async (database: TestDatabase, name: string, ...words: string[]) => {
        const result = await runScript(name, words, { DATABASE_URL: database.url, ...fake.env });
        expect(result.exitCode, result.stderr + result.stdout).toBe(EXIT.done);
      };
      for (const { sql } of [source, target]) {
        await sql.unsafe(`create type feeling as enum ('sad', 'happy')`);
        for (const table of ['klines', 'klines_archive'])
          await sql.unsafe(`
            alter table ${table} add day date, add is_checked boolean not null default true,
              add raw bytea, add at timestamptz default '2024-01-01', add feeling feeling,
              add marks float8[] default '{0.1}'`);
      }
      await fetchReference(source, fake, '2024-03-01', '2024-05-01');
      await source.sql`update klines set day = open_time::date, raw = '\\xff', feeling = 'happy'`;
      await run(source, 'archive', '30', '--as-of', '2024-05-15', '--batch', '200');
      await copyAll(source, target);

      await run(target, 'verify-integrity', '--deep');
      const range = ['--from', '2024-03-05', '--to', '2024-04-01'];
      await run(target, 'restore', 'BTC/USDT', ...range);
      await target.sql`delete from restored_ranges`;
      await run(target, 'verify-integrity', '--deep');
      await run(target, 'archive', '10', '--as-of', '2024-05-15');
      await run(target, 'verify-integrity', '--deep');
      const stored = ({ sql }: TestDatabase) =>
        sql.unsafe(
          `select * from klines union all select * from klines_archive order by open_time`,
        );
      expect([...(await stored(target))]).toEqual([...(await stored(source))]);
      const [left] = await target.sql`select count(*)::int as rows from klines_archive`;
      expect(left?.rows).toBe(61 * 24);
    },
  );
});

/** Copies all rows of all tables, as a dump and its restore would. */
async function copyAll(source: TestDatabase, target: TestDatabase): Promise<void> {
  const copy = async (table: string) => {
    const [found] = await source.sql.unsafe(
      `select coalesce(jsonb_agg(to_jsonb(t)), '[]')::text as rows from "${table}" t`,
    );
    await target.sql.unsafe(
      `insert into "${table}" overriding system value
      select * from jsonb_populate_recordset(null::"${table}", $1::text::jsonb)`,
      [found!.rows],
    );
  };
  await copy('instruments');
  for (const instrument of await listInstruments(target.sql)) {
    const tables = { hot: instrument.tableName, archive: `${instrument.tableName}_archive` };
    const values = { ...tables, instrument_id: instrument.id };
    await runSql(target.sql, 'store/create_table.sql', values);
    await runSql(target.sql, 'archive/create_archive_table.sql', values);
  }
  const tables = await source.sql`
    select relname as name from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'r'
      and relname not in ('instruments', 'schema_files')`;
  for (const { name } of tables) await copy(name);
  await target.sql`
    select setval(pg_get_serial_sequence(table_name, column_name), 1000)
    from information_schema.columns where table_schema = 'public' and is_identity = 'YES'`;
}

describe('checkServer()', () => {
  const good = { versionNumber: 140_000, version: '14.0', database: 'klines', encoding: 'UTF8' };

  test('accepts 14 and newer', () => {
    assertSupported(good);
    assertSupported({ ...good, versionNumber: 190_000, version: '19devel' });
  });

  test('refuses an older server with 78 and names both versions', () => {
    const old = { ...good, versionNumber: 130_023, version: '13.23 (Debian 13.23-1)' };
    expect(() => assertSupported(old)).toThrow(
      expect.objectContaining({
        exitCode: EXIT.config,
        message:
          'The server runs PostgreSQL 13.23 (Debian 13.23-1), but klinekeep needs version 14 or newer.',
      }),
    );
  });

  test.each(PLACES)('refuses a database that is not UTF8 on %s', async (place) => {
    const options = `encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'`;
    const url = await emptyDatabase(place, options);
    const { exitCode, stderr, stdout } = await runScript('status', [], { DATABASE_URL: url });
    expect({ exitCode, stdout }).toEqual({ exitCode: EXIT.config, stdout: '' });
    expect(stderr).toMatch(
      /The database "empty_\w+" has the encoding LATIN1, but klinekeep needs UTF8/,
    );
    const sql = postgres(url, { max: 1 });
    const tables = await sql`select 1 from pg_tables where schemaname = 'public'`;
    await sql.end();
    expect(tables).toHaveLength(0);
  });

  const oldNote = canStart('13') ? '' : ' (skipped: PostgreSQL 13 comes with test:all-versions)';
  test.skipIf(!canStart('13'))(`refuses a real PostgreSQL 13${oldNote}`, async () => {
    const home = await mkdtemp(join(tmpdir(), 'klinekeep-tests-13-'));
    await chmod(home, 0o711);
    onTestFinished(async () => {
      await stopEmbedded(home);
      await rm(home, { recursive: true, force: true });
    });
    const url = await startEmbedded(home, { programs: await findVersion('13') });
    const sql = postgres(url, { max: 1 });
    onTestFinished(() => sql.end());
    await expect(checkServer(sql)).rejects.toThrow('The server runs PostgreSQL 13.23, and');
  });
});
