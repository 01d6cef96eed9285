import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { execute } from '../../lib/cli/main.ts';

export const TSX_LOADER = resolve(PROJECT_DIR, 'node_modules/tsx/dist/loader.mjs');

export interface ScriptResult {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunningScript {
  process: ChildProcess;
  result: Promise<ScriptResult>;
}

/** Starts a script as cron does: from `/`, with few environment variables. */
export function startScript(
  name: string,
  words: readonly string[],
  env: Record<string, string> = {},
): RunningScript {
  return start(resolve(PROJECT_DIR, `scripts/${name}.ts`), words, env);
}

function start(file: string, words: readonly string[], env: Record<string, string>): RunningScript {
  const child = spawn(
    process.execPath,
    // What the tsx command does without a second process: a SIGKILL has to reach the script.
    ['--import', TSX_LOADER, file, ...words],
    {
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        TZ: process.env.TZ,
        ...UNREACHABLE,
        ...env,
      },
    },
  );
  const exited = new Promise<[number | null, NodeJS.Signals | null]>((settle, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => settle([code, signal]));
  });
  const result = Promise.all([exited, text(child.stdout), text(child.stderr)]).then(
    ([[exitCode, signal], stdout, stderr]) => ({ exitCode, signal, stdout, stderr }),
  );
  // A test may stop reading early and not wait for the result.
  result.catch(() => {});
  return { process: child, result };
}

/** Runs a TypeScript file that is not one of our scripts. */
export async function runProgram(
  file: string,
  words: readonly string[],
  env: Record<string, string>,
): Promise<ScriptResult> {
  return await start(file, words, env).result;
}

/** Runs a script within this process: ten times faster and otherwise the same. */
export async function runScript(
  name: string,
  words: readonly string[],
  env: Record<string, string> = {},
): Promise<ScriptResult> {
  const { script } = await import(`../../scripts/${name}.ts`);
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const output = Promise.all([text(stdout), text(stderr)]);
  const exitCode = await execute(script, [...words], {
    env: { ...UNREACHABLE, ...env },
    stdout,
    stderr,
  });
  stdout.end();
  stderr.end();
  const [out, err] = await output;
  return { exitCode, signal: null, stdout: out, stderr: err };
}

/** Keeps tests from sending requests to Binance and from starting a server in the developer's `.klines`. */
export const UNREACHABLE = {
  DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing',
  BINANCE_SPOT_URL: 'http://127.0.0.1:1',
  BINANCE_USDM_URL: 'http://127.0.0.1:1',
  BINANCE_BULK_URL: 'http://127.0.0.1:1',
};
