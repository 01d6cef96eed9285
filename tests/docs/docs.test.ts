/**
 * The documents against the code. `KLINEKEEP_UPDATE_DOCS=1 npx vitest run tests/docs` writes what
 * the commands print now into the documents, and the reference of tables into docs/schema.md.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { freshDatabase } from '../support/database.ts';
import { openShell, readRecipes, type Shell } from './commands.ts';
import { type Block, parseBlocks, parseSteps, replaceBlocks } from './markdown.ts';
import { bringUpToDate } from './output.ts';
import { renderTables, replaceTables } from './tables.ts';

/** As wide in the tables that an update writes as on every machine. */
vi.mock('node:os', async (importOriginal) => ({
  ...(await importOriginal<typeof import('node:os')>()),
  hostname: () => 'laptop',
}));

const isUpdate = Boolean(process.env.KLINEKEEP_UPDATE_DOCS);

/** In the order in which their commands run. */
const RUN_FILES = ['README.md', 'docs/manual.md', 'docs/schema.md', 'docs/operations.md'];
const OTHER_FILES = ['CHANGELOG.md', 'CONTRIBUTING.md', 'lib/README.md', 'mine/README.md'];

const read = (file: string) => readFileSync(resolve(PROJECT_DIR, file), 'utf8');

/** What is in the documents, or, for an update, goes there. */
function assertOrWrite(file: string, wanted: string): void {
  if (isUpdate) writeFileSync(resolve(PROJECT_DIR, file), wanted);
  else expect(read(file)).toBe(wanted);
}

describe('the documents', () => {
  test('show what their commands print', async () => {
    const shell = await openShell();
    for (const file of RUN_FILES) {
      const markdown = read(file);
      const replacements = new Map<Block, string[]>();
      for (const block of parseBlocks(markdown)) {
        if (block.isRun) replacements.set(block, await run(block, shell, file));
      }
      assertOrWrite(file, replaceBlocks(markdown, replacements));
    }
  });

  test('run every block that is not marked', () => {
    const skipped = RUN_FILES.flatMap((file) =>
      parseBlocks(read(file))
        .filter((block) => !block.isRun)
        .map((block) => `${file}: ${block.lines.find((line) => line !== '')}`),
    );
    expect(skipped).toEqual(NOT_RUN);
  });

  test('describe every verb and every option', async () => {
    const manual = read('docs/manual.md').split(/^## /m);
    const missing: string[] = [];
    for (const [recipe, name] of [...readRecipes(), ['db adopt', 'db-adopt'] as const]) {
      if (name === 'demo') continue;
      const section = manual.find((text) => text.startsWith(`${recipe}:`)) ?? '';
      const { script } = await import(`../../scripts/${name}.ts`);
      const options = Object.entries<{ type: string }>(script.args)
        .filter(([, { type }]) => type !== 'positional')
        .map(([option]) => `--${option}`)
        .filter((option) => !new RegExp(`${option}\\b(?!-)`).test(section));
      if (section === '') missing.push(recipe);
      missing.push(...options.map((option) => `${recipe} ${option}`));
      if (!read('README.md').includes(`| \`${recipe}`)) missing.push(`${recipe} in README.md`);
    }
    expect(missing).toEqual([]);
  });

  test('link to files and headings that exist', () => {
    const broken = [...RUN_FILES, ...OTHER_FILES].flatMap((file) =>
      [...read(file).matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, target]) => target as string)
        .filter((target) => !/^https?:/.test(target) && !hasTarget(file, target))
        .map((target) => `${file}: ${target}`),
    );
    expect(broken).toEqual([]);
  });
});

/** Blocks that need a shell, another program, or another server than that of the tests. */
const NOT_RUN = [
  'README.md: git clone <this repository> klinekeep && cd klinekeep',
  'README.md: just crontab             # prints the lines',
  'docs/manual.md: node_modules/.bin/tsx scripts/archive.ts --help',
  'docs/manual.md: just completion bash >> ~/.bashrc',
  'docs/operations.md: DATABASE_URL=postgres://user:password@db.example:5432/klines',
  "docs/operations.md: create role klinekeep login password '…';",
  'docs/operations.md: DATABASE_URL=postgres://klinekeep:…@db.example/app?options=-csearch_path%3Dklines',
  'docs/operations.md: grant usage on schema klines to reader;',
  'docs/operations.md: git pull && npm ci',
  'docs/operations.md: pg_dump --format=custom --file=klines.dump "$(just db url)"',
  'docs/operations.md: createdb klines',
  'docs/operations.md: just crontab --uninstall',
  'docs/operations.md: just crontab --uninstall',
];

async function run(block: Block, shell: Shell, file: string): Promise<string[]> {
  const { language, lines } = block;
  try {
    if (language === 'sql') await shell.query(lines.join('\n'));
    else if (language === 'ts') {
      const [, name] = /^\/\/ (mine\/[\w-]+\.ts)/.exec(lines[0] ?? '') ?? [];
      if (name === undefined) throw new Error('The first line names the file: // mine/NAME.ts');
      await shell.save(name, lines.join('\n'));
    } else if (language === 'text') assertNoCommand(lines);
    else if (language === 'console') {
      const shown: string[] = [];
      for (const step of parseSteps(lines)) {
        const printed = await shell.run(step.command);
        const gap = shown.length > 0 ? [''] : [];
        shown.push(...gap, ...step.commandLines, ...bringUpToDate(step.output, printed));
      }
      return shown;
    } else throw new Error('Wanted console, sql, ts, text, or the mark no-run.');
    return lines;
  } catch (error) {
    throw new Error(`${file}, line ${block.line + 1}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function assertNoCommand(lines: readonly string[]): void {
  const command = lines.find((line) => /^(\$|just|npx|npm|git) /.test(line));
  if (command) throw new Error(`A command is not text: ${command}`);
}

function hasTarget(file: string, target: string): boolean {
  const [path = '', heading] = target.split('#');
  const found =
    path === '' ? resolve(PROJECT_DIR, file) : resolve(PROJECT_DIR, dirname(file), path);
  if (!existsSync(found)) return false;
  if (heading === undefined) return true;
  const headings = readFileSync(found, 'utf8').match(/^#+ .*$/gm) ?? [];
  return headings.map(anchorOf).includes(heading);
}

/** As GitHub makes them. */
function anchorOf(heading: string): string {
  const text = heading.replace(/^#+ /, '').toLowerCase();
  return text.replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-');
}

test('lib/README.md lists the imports of every room', () => {
  const file = 'lib/README.md';
  const wanted = read(file).replaceAll(
    /^(\| \[([\w/]+)\]\(\S+\) \| [^|]+ \|)[^|]*\|$/gm,
    (_, cells: string, room: string) => `${cells} ${importsOf(room).join(', ')} |`,
  );
  assertOrWrite(file, wanted);
});

/** Rooms whose mod.ts the files of a room import. */
function importsOf(room: string): string[] {
  const folder = resolve(PROJECT_DIR, 'lib', room);
  const files = (readdirSync(folder, { recursive: true }) as string[]).filter(
    (name) =>
      name.endsWith('.ts') &&
      // Not the files of a room inside this one.
      (dirname(name) === '.' || !existsSync(join(folder, dirname(name), 'mod.ts'))),
  );
  const rooms = files.flatMap((name) =>
    [...readFileSync(join(folder, name), 'utf8').matchAll(/'(\.\.(?:\/[^']*)?)\/mod\.ts'/g)].map(
      ([, path]) => relative(resolve(PROJECT_DIR, 'lib'), join(folder, dirname(name), path ?? '')),
    ),
  );
  return [...new Set(rooms)].sort();
}

test('docs/schema.md describes every table, view and function of the schema', async () => {
  const { sql } = await freshDatabase();
  const file = 'docs/schema.md';
  assertOrWrite(file, replaceTables(read(file), await renderTables(sql)));
});
