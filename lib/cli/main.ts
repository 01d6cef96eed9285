import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { EXIT } from '../base/mod.ts';
import { isWriteAfterLoss } from '../postgres/mod.ts';
import type { RunResult } from '../store/mod.ts';
import { COMMON_ARGS, helpText, readOptions, readWords } from './arguments.ts';
import { type Context, createContext } from './context.ts';
import { describeFailure } from './failure.ts';
import { isColored } from './log.ts';
import { OutputClosed } from './output.ts';
import type { Script } from './script.ts';

/** Where a script reads its settings and prints. */
export interface Io {
  env: NodeJS.ProcessEnv;
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream;
}

/**
 * Runs a script if its file was started, and does nothing if it was imported. Sets
 * `process.exitCode`, because `process.exit()` would cut pending output off.
 */
export async function main<Options>(meta: ImportMeta, script: Script<Options>): Promise<void> {
  const started = process.argv[1];
  if (started === undefined || realpathSync(started) !== fileURLToPath(meta.url)) return;
  // `| head` closes the pipe early, which is not an error.
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
 * @returns its exit code; failures are printed, not thrown
 */
export async function execute<Options>(
  script: Script<Options>,
  words: string[],
  io: Io,
): Promise<number> {
  const { stdout, stderr } = io;
  const args = { ...script.args, ...COMMON_ARGS };
  let wantsJson = words.includes('--json');
  let context: Context | undefined;
  let result: RunResult = { exitCode: EXIT.failed };
  try {
    const { help, json = false, quiet = false, ...values } = readWords(words, args);
    if (help) {
      stdout.write(await helpText(script, args, isColored(stdout)));
      return EXIT.done;
    }
    wantsJson = Boolean(json);
    const options = readOptions(script, values);
    context = createContext(script.name, {
      quiet: Boolean(quiet),
      wantsJson,
      isDryRun: Boolean(values.dryRun),
      writes: script.writes?.(options) ?? false,
      ...io,
    });
    const outcome = await script.run(options, context);
    // A reader behind a pipe may print to the terminal that the bar is on.
    context.progress.stop();
    // Findings are printed in spite of --quiet.
    const isShown = !quiet || outcome.exitCode === EXIT.findings;
    if (wantsJson) stdout.write(`${JSON.stringify(outcome.json)}\n`);
    else if (outcome.text !== undefined && isShown) stdout.write(`${outcome.text}\n`);
    const exitCode = context.signalExitCode ?? outcome.exitCode ?? EXIT.done;
    result = { exitCode, result: outcome.json };
  } catch (thrown) {
    if (thrown instanceof OutputClosed) {
      result = { exitCode: EXIT.done };
    } else {
      const { text, hint, exitCode } = await describeFailure(thrown, context);
      context?.progress.stop();
      if (wantsJson) stdout.write(`${JSON.stringify({ error: text, hint, exitCode })}\n`);
      const hintLines = hint ? `  ${hint.replaceAll('\n', '\n  ')}\n` : '';
      stderr.write(`${script.name}: ${text}\n${hintLines}`);
      result = { exitCode, message: text };
    }
  } finally {
    await context?.close(result);
  }
  return result.exitCode;
}
