import { createConsola } from 'consola';

/** What a script says while it works. All of it goes to stderr: stdout is for the result. */
export interface Log {
  /** Silent under `--quiet`. */
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export function createLog(options: { quiet: boolean; clearLine?: () => void }): Log {
  const { stderr } = process;
  const consola = createConsola({
    level: options.quiet ? 1 : 3,
    stdout: stderr,
    stderr,
    fancy: Boolean(stderr.isTTY) && !process.env.NO_COLOR,
    formatOptions: { date: false, colors: Boolean(stderr.isTTY) && !process.env.NO_COLOR },
  });
  const say = (write: (message: string) => void) => (message: string) => {
    options.clearLine?.();
    write(message);
  };
  return {
    info: say((message) => consola.log(message)),
    warn: say((message) => consola.warn(message)),
    error: say((message) => consola.error(message)),
  };
}
