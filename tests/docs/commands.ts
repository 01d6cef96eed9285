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
import { type FakeBinance, startFakeBinance } from '../support/fake-binance/server.ts';
import { defaultSymbols } from '../support/fake-binance/symbols.ts';
import { runProgram, runScript } from '../support/script.ts';
import { splitWords } from './markdown.ts';

/** The clock of the documents. Before an update an hour passes, before all else a minute. */
const BEGIN_MS = Date.parse('2025-06-16T08:00:30Z');
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
/** What Binance has no candles for: an outage of 80 minutes. */
const OUTAGE = {
  fromMs: Date.parse('2025-06-12T12:40Z'),
  toMs: Date.parse('2025-06-12T14:00Z'),
};
/** Where the documents say that the checkout is, and what they call Node and the machine. */
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

/** An empty database, a fake exchange and a clock that stands still. Gone when the test ends. */
export async function openShell(): Promise<Shell> {
  const fake = await startFakeBinance({
    nowMs: BEGIN_MS,
    symbols: defaultSymbols(20).map((symbol) => ({ ...symbol, gaps: [OUTAGE] })),
  });
  onTestFinished(() => fake.close());
  await publishMonths(fake, BULK_MONTHS);
  const url = await emptyDatabase();
  const { sql, close } = await connectDatabase(url, 'klinekeep docs', { connections: 1 });
  onTestFinished(() => close());
  const [server] = await sql`select current_setting('data_directory', true) as folder`;
  await createForeignTable(sql, await fake.candles('spot', 'ADAUSDT', '1h', ...ONE_DAY));
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-docs-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const cwd = process.cwd();
  process.chdir(folder);
  onTestFinished(() => process.chdir(cwd));
  // The scripts' clock. PostgreSQL's goes on: what it writes is translated in `tidy`.
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });

  const beganMs = performance.timeOrigin + performance.now();
  const env = { DATABASE_URL: url, ...fake.env };
  const recipes = readRecipes();
  let exitCode = 0;
  let nowMs = BEGIN_MS;

  const runVerb = async ([verb, ...words]: string[]): Promise<string> => {
    const name = verb === 'db' && words[0] === 'adopt' ? 'db-adopt' : recipes.get(verb ?? '');
    if (name === undefined) throw new Error(`The Justfile has no recipe ${verb} with a script.`);
    if (name === 'db' && words[0] === 'psql') {
      const result = await sql.unsafe(words.at(-1) ?? '');
      return `${result.command} ${result.count}\n`;
    }
    // The embedded server of the tests.
    const own = { DATABASE_URL: '', KLINES_HOME: dirname(server?.folder ?? folder) };
    const result = await runScript(name, name === 'db-adopt' ? words.slice(1) : words, {
      ...env,
      ...(name === 'db' ? own : {}),
    });
    exitCode = result.exitCode ?? 1;
    return result.stderr + result.stdout;
  };

  const runProgramOf = async (file: string): Promise<string> => {
    const result = await runProgram(join(folder, asModule(file)), [], env);
    exitCode = result.exitCode ?? 1;
    return result.stderr + result.stdout;
  };

  return {
    async run(command) {
      const [program, ...words] = splitWords(command.replace(/^npx /, ''));
      if (/[|<>;&`$]/.test(command.replaceAll(/'[^']*'|"[^"`$]*"|\$\?/g, '')))
        throw new Error(`This needs a shell; mark the block no-run: ${command}`);
      if (command === 'echo $?') {
        const shown = [String(exitCode)];
        exitCode = 0;
        return shown;
      }
      if (exitCode !== 0)
        throw new Error(
          `The command before ${command} ended with ${exitCode}: show it with echo $?`,
        );
      nowMs += words[0] === 'update' ? HOUR_MS : MINUTE_MS;
      vi.setSystemTime(nowMs);
      fake.nowMs = nowMs;
      const printed =
        program === 'just'
          ? await runVerb(words)
          : program === 'tsx'
            ? await runProgramOf(words[0] ?? '')
            : undefined;
      if (printed === undefined)
        throw new Error(`Only just and tsx can be run; mark the block no-run: ${command}`);
      return tidy(printed, { folder, beganMs, nowMs });
    },
    async query(text) {
      await sql.unsafe(text);
    },
    async save(name, code) {
      const absolute = code.replaceAll("'../lib/", `'${PROJECT_DIR}lib/`);
      await writeFile(join(folder, asModule(name)), absolute);
    },
  };
}

/** Month files of what the documents fetch, so that no day file of them is requested. */
const BULK_MONTHS = Array.from({ length: 17 }, (_, month) =>
  new Date(Date.UTC(2024, month)).toISOString().slice(0, 7),
);

async function publishMonths(fake: FakeBinance, months: readonly string[]): Promise<void> {
  for (const symbol of ['BTCUSDT', 'ETHUSDT'])
    for (const month of months) await publish(fake, month, { symbol });
}

/** A table that another program made, for the verb that adopts one. */
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

/** Outside of the checkout only this ending makes a module. */
function asModule(file: string): string {
  return file.replace(/^mine\//, '').replace(/\.ts$/, '.mts');
}

/** Recipe → script. */
export function readRecipes(): Map<string, string> {
  const justfile = readFileSync(resolve(PROJECT_DIR, 'Justfile'), 'utf8');
  const recipes = justfile.matchAll(/^@([\w-]+).*:\n.*\{\{ scripts \}\}\/([\w-]+)\.ts "\$@"/gm);
  return new Map([...recipes].map(([, recipe, script]) => [recipe as string, script as string]));
}

/** What a person sees: without progress, in the documents' folder, by the documents' clock. */
function tidy(
  printed: string,
  { folder, beganMs, nowMs }: { folder: string; beganMs: number; nowMs: number },
): string[] {
  const shownTime = new Date(nowMs).toISOString().slice(0, 16).replace('T', ' ');
  const isRecent = (time: string) => Date.parse(`${time.replace(' ', 'T')}Z`) > beganMs - 60_000;
  const lines = printed
    .trimEnd()
    .replaceAll(PROJECT_DIR, `${SHOWN_DIR}/`)
    .replaceAll(folder, SHOWN_DIR)
    .replaceAll(process.execPath, SHOWN_NODE)
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d/g, (time) => (isRecent(time) ? shownTime : time))
    .split('\n')
    .filter((line) => !/^\d+ % · /.test(line));
  return sortNumbered(lines);
}

/** Several instruments at a time end in any order: `[3/20]` may come before `[1/20]`. */
function sortNumbered(lines: string[]): string[] {
  const numberOf = (line: string) => Number(/^\[(\d+)\/\d+\] /.exec(line)?.[1] ?? Number.NaN);
  const at = lines.findIndex((line) => !Number.isNaN(numberOf(line)));
  const end = lines.findLastIndex((line) => !Number.isNaN(numberOf(line))) + 1;
  if (at < 0) return lines;
  const numbered = lines.slice(at, end).sort((a, b) => numberOf(a) - numberOf(b));
  return [...lines.slice(0, at), ...numbered, ...lines.slice(end)];
}
