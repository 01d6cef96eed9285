import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PROJECT_DIR } from '../lib/base/settings.ts';

/** The rooms of the code, from the ground up. A file imports from lower floors and from its own room. */
const FLOORS = [
  ['lib/base'],
  ['lib/market', 'lib/postgres', 'lib/embedded'],
  ['lib/binance', 'lib/store'],
  ['lib/archive', 'lib/download', 'lib/read', 'lib/cli'],
  ['lib/verify'],
  ['lib/verify/repair'],
  ['scripts', 'bench'],
] as const;
const ROOMS: readonly string[] = FLOORS.flat();

/** The room of a file: the deepest folder that is one. */
function roomOf(file: string): string | undefined {
  return ROOMS.filter((room) => file.startsWith(`${room}/`)).sort((a, b) => b.length - a.length)[0];
}

const floorOf = (room: string) =>
  FLOORS.findIndex((rooms: readonly string[]) => rooms.includes(room));

/** The files of the project that a file imports, types included. */
function importsOf(file: string, text: string): string[] {
  const specifiers = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.{1,2}\/[^']+)'/g);
  return [...specifiers].map(([, path]) => normalize(join(dirname(file), path as string)));
}

/**
 * What is against the rules, one line for each.
 * @param files texts by path from the project's folder
 */
function findViolations(files: Readonly<Record<string, string>>): string[] {
  const graph = new Map(
    Object.entries(files).map(([file, text]) => [file, importsOf(file, text)] as const),
  );
  const violations: string[] = [];
  for (const [file, targets] of graph) {
    const from = roomOf(file);
    if (from === undefined) {
      violations.push(`${file} is in no room`);
      continue;
    }
    for (const target of targets) {
      // Benchmarks run against the fake exchange.
      if (from === 'bench' && target.startsWith('tests/support/')) continue;
      const to = roomOf(target);
      if (to === undefined) violations.push(`${file} imports ${target}, which is in no room`);
      else if (to === from) {
        const isScript = to === 'scripts' && !target.startsWith('scripts/_');
        if (isScript) violations.push(`${file} imports the script ${target}`);
        if (target.endsWith('/mod.ts')) violations.push(`${file} imports its own room's mod.ts`);
      } else {
        if (floorOf(to) >= floorOf(from)) violations.push(`${file} imports upwards: ${target}`);
        if (to !== 'scripts' && target !== `${to}/mod.ts`)
          violations.push(`${file} enters ${to} beside its mod.ts: ${target}`);
      }
    }
  }
  return [...violations, ...findCircles(graph)];
}

/** One line for each circle of imports, type imports included. */
function findCircles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]) => {
    if (path.includes(file)) {
      circles.push(`a circle: ${[...path.slice(path.indexOf(file)), file].join(' > ')}`);
      return;
    }
    if (done.has(file)) return;
    for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return circles;
}

function readTypeScript(folder: string): Record<string, string> {
  const files = readdirSync(resolve(PROJECT_DIR, folder), { recursive: true }) as string[];
  return Object.fromEntries(
    files
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name))
      .map((file) => [file, readFileSync(resolve(PROJECT_DIR, file), 'utf8')]),
  );
}

function foldersOf(folder: string): string[] {
  return readdirSync(resolve(PROJECT_DIR, folder), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

describe('findViolations()', () => {
  test.each([
    ['an import that runs up', 'lib/base/a.ts', "import { b } from '../store/mod.ts';"],
    ['a type import that runs up', 'lib/base/a.ts', "import type { B } from '../store/mod.ts';"],
    ['an import across one floor', 'lib/store/a.ts', "import { b } from '../binance/mod.ts';"],
    ['a dynamic import that runs up', 'lib/base/a.ts', "await import('../store/mod.ts');"],
    ['a way in beside mod.ts', 'lib/store/a.ts', "export { b } from '../base/errors.ts';"],
    ["an import of the room's own mod.ts", 'lib/base/a.ts', "import { b } from './mod.ts';"],
    ['an import of another script', 'scripts/a.ts', "import { b } from './update-klines.ts';"],
    ['an import of a test', 'lib/base/a.ts', "import { b } from '../../tests/support/b.ts';"],
    ['a file outside of the rooms', 'lib/a.ts', ''],
  ])('finds %s', (_, file, text) => {
    expect(findViolations({ [file]: text })).toHaveLength(1);
  });

  test('finds a circle of type imports within a room', () => {
    const circle = {
      'lib/base/a.ts': "import type { B } from './b.ts';",
      'lib/base/b.ts': "import type { A } from './a.ts';",
    };
    expect(findViolations(circle)).toEqual([
      'a circle: lib/base/a.ts > lib/base/b.ts > lib/base/a.ts',
    ]);
  });

  test('allows what the rules allow', () => {
    const files = {
      'lib/base/errors.ts': '',
      'lib/base/retry.ts': "import { a } from './errors.ts';",
      'lib/store/a.ts': "import { a } from '../base/mod.ts';",
      'scripts/a.ts': "import { a } from './_move.ts';\nimport { b } from '../lib/store/mod.ts';",
    };
    expect(findViolations(files)).toEqual([]);
  });
});

test('the code keeps to its rooms', () => {
  const files = {
    ...readTypeScript('lib'),
    ...readTypeScript('scripts'),
    ...readTypeScript('bench'),
  };
  expect(findViolations(files)).toEqual([]);
});

test('sql and tests are divided into the same rooms', () => {
  const rooms = ROOMS.map((room) => room.split('/')[1] ?? room);
  expect(foldersOf('sql').filter((folder) => ![...rooms, 'schema'].includes(folder))).toEqual([]);
  const others = ['by-hand', 'docs', 'support'];
  expect(foldersOf('tests').filter((name) => ![...rooms, ...others].includes(name))).toEqual([]);
});

test('no two SQL files have the same name', () => {
  const names = (readdirSync(resolve(PROJECT_DIR, 'sql'), { recursive: true }) as string[])
    .filter((file) => file.endsWith('.sql'))
    .map((file) => file.split('/').at(-1) as string);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
});
