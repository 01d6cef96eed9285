/** What all benchmarks share: a server of their own, whole processes, rounds and medians. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type postgres from 'postgres';
import { PROJECT_DIR } from '../lib/base/mod.ts';
import { startEmbedded, stopEmbedded } from '../lib/embedded/mod.ts';
import { connectDatabase, type Database, migrate } from '../lib/postgres/mod.ts';

export interface Bench {
  /** An empty folder for files. */
  folder: string;
  /** The address of a new database. */
  url: string;
  database: Database;
  sql: postgres.Sql;
}

/** Runs a benchmark on an embedded server with the schema, and removes both when it has finished. */
export async function withServer(work: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-bench-'));
  await chmod(folder, 0o711);
  const home = join(folder, 'home');
  try {
    const url = await startEmbedded(home);
    const database = await connectDatabase(url, 'klinekeep bench');
    try {
      await migrate(database.sql);
      await work({ folder, url, database, sql: database.sql });
    } finally {
      await database.close();
    }
  } finally {
    await stopEmbedded(home);
    await rm(folder, { recursive: true });
  }
}

/** How often to measure: BENCH_ROUNDS, or the benchmark's own number. */
export function readRounds(otherwise: number): number {
  return Number(process.env.BENCH_ROUNDS ?? otherwise);
}

/** The command that the Justfile runs for a TypeScript file, such as `scripts/status.ts`. */
export function toCommand(file: string, ...words: string[]): [program: string, words: string[]] {
  const loader = resolve(PROJECT_DIR, 'node_modules/tsx/dist/loader.mjs');
  return [process.execPath, ['--import', loader, resolve(PROJECT_DIR, file), ...words]];
}

/**
 * Runs a program to its end, without its output.
 * @returns ms
 * @throws when it exits with anything but 0
 */
export async function runProgram(
  [program, words]: readonly [string, readonly string[]],
  env: Record<string, string> = {},
): Promise<number> {
  return await time(async () => {
    const child = spawn(program, words, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error(`${program} exited with ${code}: ${words.join(' ')}`);
  });
}

/** @returns ms that the work took */
export async function time(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

/** Milliseconds as seconds with two decimals. */
export function formatSeconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}

/** The ratio of every round, such as `0.98 1.03 1.01`. */
export function formatRatios(ratios: readonly number[]): string {
  return ratios.map((ratio) => ratio.toFixed(2)).join(' ');
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
