import { createConsola, type LogObject } from 'consola/basic';
import { isScreen } from './terminal.ts';

/** Messages while a script works. They are printed to stderr, because stdout is for the result. */
export interface Log {
  /** Silent under `--quiet`. */
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

const QUIET_LEVEL = 1;
const DEFAULT_LEVEL = 3;
const PREFIX: Partial<Record<LogObject['type'], string>> = { warn: 'warning: ', error: 'error: ' };
const COLOR: Partial<Record<LogObject['type'], number>> = { warn: 33, error: 31 };

/** Whether to print colors to a stream. https://no-color.org */
export function isColored(stream: NodeJS.WritableStream): boolean {
  return isScreen(stream) && !process.env.NO_COLOR;
}

export function createLog(stderr: NodeJS.WritableStream, options: { quiet: boolean }): Log {
  const colored = isColored(stderr);
  const consola = createConsola({
    level: options.quiet ? QUIET_LEVEL : DEFAULT_LEVEL,
    reporters: [
      {
        log({ type, args }) {
          const text = `${PREFIX[type] ?? ''}${args.join(' ')}`;
          stderr.write(
            colored && COLOR[type] ? `\u001b[${COLOR[type]}m${text}\u001b[39m\n` : `${text}\n`,
          );
        },
      },
    ],
  });
  return {
    info: (message) => consola.log(message),
    warn: (message) => consola.warn(message),
    error: (message) => consola.error(message),
  };
}
