/** The exit codes of all scripts, from BSD's sysexits where one fits. */
export const EXIT = {
  done: 0,
  failed: 1,
  findings: 2,
  usage: 64,
  data: 65,
  unavailable: 69,
  later: 75,
  config: 78,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
type ErrorKind = Exclude<keyof typeof EXIT, 'done'>;

/**
 * An error for the person at the terminal: `message` says what failed, what was found and what was
 * wanted, `hint` what to do. Any other error is a bug of ours and is printed with its stack.
 */
export class KlinekeepError extends Error {
  readonly exitCode: ExitCode;
  readonly hint: string | undefined;

  constructor(kind: ErrorKind, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'KlinekeepError';
    this.exitCode = EXIT[kind];
    this.hint = options.hint;
  }
}

/** The error (78) of a setting, a server, a role or a file that has to be corrected first. */
export function configError(message: string, hint: string, cause?: unknown): KlinekeepError {
  return new KlinekeepError('config', message, { hint, cause });
}

/** Formats a thrown value on one line, with the causes that add something. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at !== undefined && parts.length < 5; ) {
    const text = at instanceof Error ? ownText(at) : String(at);
    if (text !== '' && !parts.some((part) => part.includes(text))) parts.push(text);
    at = at instanceof Error ? at.cause : undefined;
  }
  return parts.join(': ').replaceAll(/\s*\n\s*/g, ' ');
}

/** Node's AggregateError, when several addresses refuse a connection, has an empty message. */
function ownText(error: Error): string {
  if (error.message !== '') return error.message;
  if (error instanceof AggregateError) return error.errors.map((e) => String(e.message)).join('; ');
  return error.name;
}
