import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ArgsDef } from 'citty';
import type { z } from 'zod';
import { describeError, EXIT, type ExitCode, KlinekeepError } from '../base/mod.ts';
import {
  explainFullLockTable,
  explainRefusal,
  isConnectionLost,
  isWriteAfterLoss,
} from '../postgres/mod.ts';
import type { RunResult } from '../store/mod.ts';
import { COMMON_ARGS, helpText, readOptions, readWords } from './arguments.ts';
import { type Context, createContext } from './context.ts';
import { isColored } from './log.ts';
import { OutputClosed } from './output.ts';

/** What a script hands back: stdout is one of `json` and `text`. */
export interface Outcome {
  exitCode?: ExitCode;
  /** For `--json`: one object. */
  json: Record<string, unknown>;
  /** For people. Left out: nothing on stdout. */
  text?: string;
}

export interface Script<Options> {
  /** The verb, as a person types it: `fetch`. */
  name: string;
  summary: string;
  /** Arguments of example calls, without the script's name. */
  examples: readonly string[];
  /** citty's description of the options. Strings and booleans only: zod reads the values. */
  args: ArgsDef;
  /** Takes what was typed, makes values of it. Positional words arrive as `_`. */
  options: z.ZodType<Options>;
  /** Whether it writes to the database: then it fails at once where it cannot. */
  writes?: (options: Options) => boolean;
  run(options: Options, context: Context): Promise<Outcome>;
}

/** Where a script finds its settings and leaves what it has to say. */
export interface Surroundings {
  env: NodeJS.ProcessEnv;
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream;
}

/**
 * Runs a script when its file is the one that was started, and does nothing when it is
 * imported. Sets `process.exitCode`; never cuts output off with `process.exit()`.
 */
export async function main<Options>(meta: ImportMeta, script: Script<Options>): Promise<void> {
  const started = process.argv[1];
  if (started === undefined || realpathSync(started) !== fileURLToPath(meta.url)) return;
  // `| head` closes the pipe early: then nobody wants the rest.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  process.on('uncaughtException', (error) => {
    if (isWriteAfterLoss(error)) return;
    process.stderr.write(`${error.stack}\n`);
    process.exit(EXIT.failed);
  });
  process.exitCode = await execute(script, process.argv.slice(2), process);
}

/**
 * Runs a script with the words that were typed after its name.
 * @returns its exit code; all that goes wrong is reported, nothing is thrown
 */
export async function execute<Options>(
  script: Script<Options>,
  words: string[],
  surroundings: Surroundings,
): Promise<number> {
  const { stdout } = surroundings;
  const args = { ...script.args, ...COMMON_ARGS };
  let context: Context | undefined;
  let wantsJson = words.includes('--json');
  let ending: RunResult = { exitCode: EXIT.failed };
  try {
    const typed = readWords(words, args);
    if (typed.help) {
      stdout.write(await helpText(script, args, isColored(stdout)));
      return EXIT.done;
    }
    const { json = false, quiet = false, help, ...values } = typed;
    wantsJson = Boolean(json);
    const options = readOptions(script.options, values);
    context = createContext(script.name, {
      quiet: Boolean(quiet),
      wantsJson,
      isDryRun: Boolean(values['dry-run']),
      writes: script.writes?.(options) ?? false,
      ...surroundings,
    });
    const outcome = await script.run(options, context);
    // A reader behind a pipe may print to the terminal that the bar is on.
    context.progress.stop();
    if (wantsJson) stdout.write(`${JSON.stringify(outcome.json)}\n`);
    // Findings are what somebody who asked for quiet wants to hear of.
    else if (outcome.text !== undefined && (!quiet || outcome.exitCode === EXIT.findings))
      stdout.write(`${outcome.text}\n`);
    ending = {
      exitCode: context.signalExitCode ?? outcome.exitCode ?? EXIT.done,
      result: outcome.json,
    };
    return ending.exitCode;
  } catch (thrown) {
    if (thrown instanceof OutputClosed) {
      ending = { exitCode: EXIT.done };
      return ending.exitCode;
    }
    const failure = describeEnd(await explainServer(thrown, context), context);
    ending = { exitCode: failure.exitCode, message: failure.text };
    reportFailure(failure, script.name, wantsJson, context, surroundings);
    return ending.exitCode;
  } finally {
    await context?.close(ending);
  }
}

interface Failure {
  exitCode: number;
  text: string;
  hint: string | undefined;
}

function describeEnd(error: unknown, context: Context | undefined): Failure {
  const stopped = context?.signalExitCode;
  if (stopped) {
    const position = context?.progress.position;
    return {
      exitCode: stopped,
      text: `stopped ${position ? `at ${position}` : 'before it began'}`,
      hint: 'What was committed stays; the next run goes on from there.',
    };
  }
  const isOurs = error instanceof KlinekeepError;
  return {
    exitCode: isOurs ? error.exitCode : EXIT.failed,
    text: describeFailure(error),
    hint: isOurs ? error.hint : undefined,
  };
}

function reportFailure(
  failure: Failure,
  name: string,
  wantsJson: boolean,
  context: Context | undefined,
  { stdout, stderr }: Surroundings,
): void {
  const { text, hint, exitCode } = failure;
  context?.progress.stop();
  if (wantsJson) stdout.write(`${JSON.stringify({ error: text, hint, exitCode })}\n`);
  stderr.write(`${name}: ${text}\n${hint ? `  ${hint.replaceAll('\n', '\n  ')}\n` : ''}`);
}

/** Where the server or the role is the reason, says so, and what to do. */
async function explainServer(error: unknown, context: Context | undefined): Promise<unknown> {
  if (isConnectionLost(error) && !(error instanceof KlinekeepError)) {
    return new KlinekeepError('unavailable', 'The connection to PostgreSQL was lost', {
      hint: 'What was committed stays. Run it again when the server is back.',
      cause: error,
    });
  }
  return explainFullLockTable(await explainRefusal(error, () => context?.openedDatabase()));
}

function describeFailure(error: unknown): string {
  if (error instanceof KlinekeepError) {
    if (error.cause === undefined || error.message.includes(describeError(error.cause)))
      return error.message;
    // SQL errors carry their cause's text already, with file and line around it.
    const cause = error.cause instanceof Error ? error.cause.message : String(error.cause);
    return error.message.includes(cause)
      ? error.message
      : `${error.message.replace(/\.$/, '')}: ${describeError(error.cause)}`;
  }
  return error instanceof Error && error.stack ? error.stack : String(error);
}
