import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Sockets close and processes exit a moment after the call that ends them returns. */
const PATIENCE_MS = 3_000;

/** The name of tsx's cache in the temporary folder. Without it scripts take seconds to start. */
const TSX_CACHE = `tsx-${process.geteuid?.() ?? userInfo().username}`;

/** Whether an earlier file of this process left a resource behind, for which later files are not blamed. */
let hasLeaked = false;

/** Closes what a module keeps open for all tests of a file; runs before the check. */
export const closers: (() => Promise<void>)[] = [];

export interface LeakWatch {
  /**
   * Stops watching.
   * @returns a line for each file and each kind of resource that was left behind
   */
  stop(): Promise<string[]>;
}

/**
 * Watches what this process leaves behind from now on: files in the temporary folder, and timers,
 * sockets and child processes that keep Node.js alive. Sessions are checked where a test's database
 * is dropped.
 */
export function watchForLeaks(): LeakWatch {
  const outerFolder = process.env.TMPDIR;
  const tsxCache = join(tmpdir(), TSX_CACHE);
  const folder = mkdtempSync(join(tmpdir(), 'klinekeep-'));
  // Servers that run as another user have folders inside it.
  chmodSync(folder, 0o711);
  mkdirSync(tsxCache, { recursive: true });
  symlinkSync(tsxCache, join(folder, TSX_CACHE));
  process.env.TMPDIR = folder;
  const before = countResources();
  return {
    stop: async () => {
      await Promise.all(closers.map((close) => close()));
      const leaks = await waitUntilEmpty(
        () => [...newResources(before), ...newFiles(folder)],
        PATIENCE_MS,
      );
      if (outerFolder === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = outerFolder;
      rmSync(folder, { recursive: true, force: true });
      hasLeaked ||= leaks.length > 0;
      return leaks;
    },
  };
}

/** Lists things again until there are none. @returns what is there after `patienceMs` */
export async function waitUntilEmpty<T>(
  list: () => T[] | Promise<T[]>,
  patienceMs: number,
): Promise<T[]> {
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    const found = await list();
    if (found.length === 0 || performance.now() > untilMs) return found;
    await sleep(20);
  }
}

/** Only what keeps the process alive: a timer or socket after `unref()` is not counted. */
function countResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const type of process.getActiveResourcesInfo())
    counts.set(type, (counts.get(type) ?? 0) + 1);
  return counts;
}

function newResources(before: ReadonlyMap<string, number>): string[] {
  if (hasLeaked) return [];
  return [...countResources()].flatMap(([type, count]) => {
    const more = count - (before.get(type) ?? 0);
    return more > 0 ? [`${more} × ${type} (--detect-async-leaks shows where it was created)`] : [];
  });
}

function newFiles(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => name !== TSX_CACHE);
  return names.map((name) => `${name} in the temporary folder`);
}
