import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import xterm from '@xterm/headless';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { TSX_LOADER, UNREACHABLE } from './script.ts';

/** @lydell/node-pty has binaries for most platforms; on the others these tests are skipped. */
const pty = await import('@lydell/node-pty').catch(() => undefined);
export const WHY_NO_SCREEN = pty ? '' : ' (skipped: no @lydell/node-pty for this machine)';

const PATIENCE_MS = 60_000;

/** What a program shows on a terminal. */
export interface Screen {
  /** All lines so far, scrolled ones included, without empty ones at the end. */
  lines(): string[];
  /** The number of lines that did not fit the width. */
  wrapped(): number;
  /** Counted from 0; the row is that of `lines()`. */
  cursor(): { row: number; column: number };
  /** All bytes that were sent to the terminal. */
  bytes(): string;
  type(keys: string): void;
  resize(columns: number, rows: number): Promise<void>;
  until(isThere: (screen: Screen) => boolean): Promise<void>;
  /** The exit code, once all output has arrived. */
  ended: Promise<number>;
}

/** Runs a script on a terminal. @param shell a command line in which "$@" is the script's own */
export async function showScript(
  name: string,
  words: readonly string[],
  options: { env: Record<string, string>; columns?: number; rows?: number; shell?: string },
): Promise<Screen> {
  const { columns = 80, rows = 24, shell = 'exec "$@"' } = options;
  const file = resolve(PROJECT_DIR, `scripts/${name}.ts`);
  const terminal = new xterm.Terminal({
    cols: columns,
    rows,
    scrollback: 1000,
    allowProposedApi: true,
  });
  const script = [process.execPath, '--import', TSX_LOADER, file, ...words];
  const child = pty!.spawn('/bin/sh', ['-c', shell, 'sh', ...script], {
    name: options.env.TERM ?? 'xterm-256color',
    cols: columns,
    rows,
    cwd: '/',
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...UNREACHABLE, ...options.env },
  });
  let bytes = '';
  let lastWrite: Promise<void> = Promise.resolve();
  child.onData((data) => {
    bytes += data;
    lastWrite = new Promise((settle) => terminal.write(data, settle));
  });
  const ended = new Promise<number>((settle) =>
    child.onExit(async ({ exitCode, signal }) => {
      await lastWrite;
      // As a shell reports it.
      settle(signal ? 128 + signal : exitCode);
    }),
  );
  const buffer = () => terminal.buffer.active;
  const allLines = () =>
    Array.from({ length: buffer().length }, (_, row) => buffer().getLine(row)!);
  const screen: Screen = {
    lines: () => {
      const lines = allLines().map((line) => line.translateToString(true));
      return lines.slice(0, lines.findLastIndex((line) => line !== '') + 1);
    },
    wrapped: () => allLines().filter((line) => line.isWrapped).length,
    cursor: () => ({ row: buffer().baseY + buffer().cursorY, column: buffer().cursorX }),
    bytes: () => bytes,
    type: (keys) => child.write(keys),
    resize: async (newColumns, newRows) => {
      await lastWrite;
      terminal.resize(newColumns, newRows);
      child.resize(newColumns, newRows);
    },
    until: async (isThere) => {
      const giveUpMs = performance.now() + PATIENCE_MS;
      while (!isThere(screen)) {
        if (performance.now() > giveUpMs)
          throw new Error(
            `The screen did not change as expected within 60 s:\n${screen.lines().join('\n')}`,
          );
        await sleep(20);
      }
    },
    ended,
  };
  return screen;
}
