/** Runs the commands of the documents against the fake exchange, in one database. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type postgres from 'postgres';
import { onTestFinished, vi } from 'vitest';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { connectDatabase } from '../../lib/postgres/connection.ts';
import { emptyDatabase } from '../support/database.ts';
import { publish } from '../support/fake-binance/bulk.ts';
import type { RawRow } from '../support/fake-binance/candles.ts';
import { startFakeBinance } from '../support/fake-binance/server.ts';
import { defaultSymbols } from '../support/fake-binance/symbols.ts';
import { runProgram, runScript } from '../support/script.ts';
import { splitWords } from './markdown.ts';

/** The clock of the documents. An hour passes before an update, a minute before other commands. */
const BEGIN_MS = Date.parse('2025-06-16T08:00:30Z');
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

/** Symbols whose history the documents fetch, and an outage in which Binance has no candles of them. */
const FETCHED = ['BTCUSDT', 'ETHUSDT'];
const OUTAGE = {
  fromMs: Date.parse('2025-06-12T12:00Z'),
  toMs: Date.parse('2025-06-12T14:00Z'),
};
/** Month files from here on, so that no day file of those months is requested. */
const FIRST_MONTH = Date.parse('2024-04-01');
const MONTHS = 14;

/** Where the documents say that the checkout and Node are. */
const SHOWN_DIR = '/home/you/klinekeep';
const SHOWN_NODE = '/usr/bin/node';

export interface Shell {
  /** @returns the lines that a person would see */
  run(command: string): Promise<string[]>;
  /** Runs SQL in the database of the commands. */
  query(text: string): Promise<void>;
  /** Saves a script of the user's, such as `mine/look.ts`. */
  save(name: string, code: string): Promise<void>;
}

/** An empty database, a fake exchange and a clock that stands still. All of it ends with the test. */
export async function openShell(): Promise<Shell> {
  const fake = await startExchange();
  const url = await emptyDatabase();
  const { sql, close } = await connectDatabase(url, 'klinekeep docs', { connections: 1 });
  onTestFinished(() => close());
  await createForeignTable(sql, await fake.candles('spot', 'ADAUSDT', '1h', ...ONE_DAY));
  const env = { DATABASE_URL: url, ...fake.env };
  const recipes = readRecipes();
  const folder = await enterFolder();
  const home = await findEmbeddedHome(sql);
  const beganMs = Date.now();
  // The scripts' clock. PostgreSQL's clock runs on; tidy() translates its times.
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  let nowMs = BEGIN_MS;
  let exitCode = 0;

  const runVerb = async ([verb = '', ...words]: string[]) => {
    if (verb === 'db' && words[0] === 'psql') return await runPsql(sql, words.at(-1) ?? '');
    if (verb === 'db' && words[0] === 'adopt')
      return await runScript('db-adopt', words.slice(1), env);
    const script = recipes.get(verb);
    if (script === undefined) throw new Error(`The Justfile has no recipe ${verb} with a script.`);
    const isEmbedded = verb === 'db';
    return await runScript(
      script,
      words,
      isEmbedded ? { ...env, DATABASE_URL: '', KLINES_HOME: home } : env,
    );
  };

  const runCommand = async ([program, ...words]: string[]) => {
    if (program === 'just') return await runVerb(words);
    if (program === 'tsx') return await runProgram(moduleIn(folder, words[0] ?? ''), [], env);
    throw new Error('Only just and tsx can be run: mark the block no-run.');
  };

  return {
    async run(command) {
      if (command === 'echo $?') {
        const shown = String(exitCode);
        exitCode = 0;
        return [shown];
      }
      if (exitCode !== 0)
        throw new Error(`The command before it ended with ${exitCode}: show that with echo $?`);
      assertNoShell(command);
      const words = splitWords(command.replace(/^npx /, ''));
      nowMs += words[1] === 'update' ? HOUR_MS : MINUTE_MS;
      fake.nowMs = nowMs;
      vi.setSystemTime(nowMs);
      const result = await runCommand(words);
      exitCode = result.exitCode ?? 1;
      return tidy(result.stderr + result.stdout, { folder, home, beganMs, nowMs });
    },
    async query(text) {
      await sql.unsafe(text);
    },
    async save(name, code) {
      const absolute = code.replaceAll("'../lib/", `'${PROJECT_DIR}lib/`);
      await writeFile(moduleIn(folder, name), absolute);
    },
  };
}

async function startExchange() {
  const symbols = defaultSymbols(20).map((symbol) => ({
    ...symbol,
    gaps: FETCHED.includes(symbol.symbol) ? [OUTAGE] : [],
  }));
  const fake = await startFakeBinance({ nowMs: BEGIN_MS, symbols });
  onTestFinished(() => fake.close());
  for (let month = 0; month < MONTHS; month++) {
    const date = new Date(FIRST_MONTH);
    date.setUTCMonth(date.getUTCMonth() + month);
    for (const symbol of FETCHED) await publish(fake, date.toISOString().slice(0, 7), { symbol });
  }
  // These files show the outage, too, so the first run can confirm it.
  const day = new Date(OUTAGE.fromMs).toISOString().slice(0, 10);
  for (const symbol of FETCHED) {
    for (const interval of ['1m', '1h'] as const) await publish(fake, day, { symbol, interval });
  }
  return fake;
}

/** A table that another program made, for `db adopt`. */
async function createForeignTable(sql: postgres.Sql, rows: readonly RawRow[]): Promise<void> {
  await sql.unsafe(`
    create table old_ada (
      ts bigint, open numeric, high numeric, low numeric, close numeric, volume numeric, close_time bigint,
      quote_volume numeric, trades int, taker_buy_base_volume numeric, taker_buy_quote_volume numeric
    )`);
  const values = rows.map((row) => `(${row.slice(0, -1).join(',')})`);
  await sql.unsafe(`insert into old_ada values ${values.join(',')}`);
}

const ONE_DAY = [Date.UTC(2024, 0, 1), Date.UTC(2024, 0, 2) - 1] as const;

/** A folder for files that commands write, as the current one. */
async function enterFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-docs-'));
  const before = process.cwd();
  process.chdir(folder);
  onTestFinished(async () => {
    process.chdir(before);
    await rm(folder, { recursive: true });
  });
  return folder;
}

/** The folder of the server that the tests started; another server may not say where its data is. */
async function findEmbeddedHome(sql: postgres.Sql): Promise<string> {
  const [server] = await sql`
    select setting as folder from pg_settings where name = 'data_directory'`;
  return dirname(server?.folder ?? '/nowhere/pgdata');
}

/** Recipe → script. */
export function readRecipes(): Map<string, string> {
  const justfile = readFileSync(resolve(PROJECT_DIR, 'Justfile'), 'utf8');
  const recipes = justfile.matchAll(/^@([\w-]+).*:\n.*\{\{ scripts \}\}\/([\w-]+)\.ts "\$@"/gm);
  return new Map([...recipes].map(([, recipe, script]) => [recipe as string, script as string]));
}

/** What psql prints for a statement that returns no rows. */
async function runPsql(sql: postgres.Sql, statement: string) {
  const { command, count } = await sql.unsafe(statement);
  return { exitCode: 0, stdout: `${command} ${count}\n`, stderr: '' };
}

/** Outside of the checkout a file needs this ending to be a module. */
function moduleIn(folder: string, file: string): string {
  return join(folder, file.replace(/^mine\//, '').replace(/\.ts$/, '.mts'));
}

/** @throws when the command has pipes, redirections or variables */
function assertNoShell(command: string): void {
  const bare = command.replaceAll(/'[^']*'|"[^"`$]*"/g, '');
  if (/[|<>;&`$]/.test(bare)) throw new Error('This needs a shell: mark the block no-run.');
}

/** What a person sees: without progress, with the documents' paths and clock. */
function tidy(
  printed: string,
  at: { folder: string; home: string; beganMs: number; nowMs: number },
): string[] {
  const shownTime = new Date(at.nowMs).toISOString().slice(0, 16).replace('T', ' ');
  const isRecent = (time: string) =>
    Date.parse(`${time.replace(' ', 'T')}Z`) > at.beganMs - MINUTE_MS;
  const lines = printed
    .trimEnd()
    .replaceAll(PROJECT_DIR, `${SHOWN_DIR}/`)
    .replaceAll(at.folder, SHOWN_DIR)
    .replaceAll(at.home, `${SHOWN_DIR}/.klines`)
    .replaceAll(process.execPath, SHOWN_NODE)
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d/g, (time) => (isRecent(time) ? shownTime : time))
    .split('\n')
    .filter((line) => !/^\d+ % · /.test(line));
  return sortNumbered(lines);
}

/** Several instruments at a time end in any order: `[3/20]` may come before `[1/20]`. */
function sortNumbered(lines: readonly string[]): string[] {
  const numberOf = (line: string | undefined) =>
    Number(/^\[(\d+)\/\d+\] /.exec(line ?? '')?.[1] ?? 0);
  const numbered = lines
    .filter((line) => numberOf(line) > 0)
    .sort((a, b) => numberOf(a) - numberOf(b));
  return lines.map((line) => (numberOf(line) > 0 ? (numbered.shift() as string) : line));
}
