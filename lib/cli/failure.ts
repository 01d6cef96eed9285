import { describeError, EXIT, KlinekeepError } from '../base/mod.ts';
import { explainFullLockTable, explainRefusal, isConnectionLost } from '../postgres/mod.ts';
import type { Context } from './context.ts';

/** How a script failed, or that a signal stopped it. */
export interface Failure {
  exitCode: number;
  text: string;
  hint: string | undefined;
}

export async function describeFailure(
  thrown: unknown,
  context: Context | undefined,
): Promise<Failure> {
  const error = await explainServer(thrown, context);
  const stopped = context?.signalExitCode;
  if (stopped) {
    const { position } = context.progress;
    return {
      exitCode: stopped,
      text: `stopped ${position ? `at ${position}` : 'before it began'}`,
      hint: 'Committed data stays; the next run continues from there.',
    };
  }
  if (error instanceof KlinekeepError)
    return { exitCode: error.exitCode, text: withCause(error), hint: error.hint };
  const text = error instanceof Error && error.stack ? error.stack : String(error);
  return { exitCode: EXIT.failed, text, hint: undefined };
}

/** A standby also ends a connection that is between two batches of rows when it has to remove them. */
const STANDBY_HINT =
  'If this standby keeps cancelling queries, set hot_standby_feedback = on or a longer max_standby_streaming_delay on it.';

/** Adds what to do if the cause is the server or a privilege of the role. */
async function explainServer(error: unknown, context: Context | undefined): Promise<unknown> {
  if (isConnectionLost(error) && !(error instanceof KlinekeepError)) {
    const opened = await context?.openedDatabase()?.catch(() => undefined);
    return new KlinekeepError('unavailable', 'The connection to PostgreSQL was lost', {
      hint:
        'Committed data stays. Run it again when the server is back.' +
        (opened?.isStandby ? `\n${STANDBY_HINT}` : ''),
      cause: error,
    });
  }
  return explainFullLockTable(await explainRefusal(error, () => context?.openedDatabase()));
}

/** The message, with the text of its cause unless it contains that already. */
function withCause({ message, cause }: KlinekeepError): string {
  // SQL errors contain the text of their cause, with file and line around it.
  const texts = [describeError(cause), cause instanceof Error ? cause.message : String(cause)];
  if (cause === undefined || texts.some((text) => message.includes(text))) return message;
  return `${message.replace(/\.$/, '')}: ${texts[0]}`;
}
