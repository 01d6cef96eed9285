import { truncate } from '../base/mod.ts';

const REDRAW_EVERY_MS = 200;
const ERASE_BELOW = '\u001b[J';
/** The window may be narrower than this process knows, until it is notified. */
const NO_WRAP = '\u001b[?7l';
const WRAP = '\u001b[?7h';

/** Whether the stream is a terminal that can move its cursor. */
export function isScreen(stream: NodeJS.WritableStream): stream is NodeJS.WriteStream {
  return Boolean((stream as NodeJS.WriteStream).isTTY) && process.env.TERM !== 'dumb';
}

/**
 * Keeps one line below everything that is printed: each write to either stream erases the line,
 * prints, and draws the line again. The cursor stays visible at the start of the line. So a crash
 * leaves nothing to restore, a `^C` does not wrap the line, and erasing to the end of the screen
 * also removes a line that wrapped when the window became narrower.
 * @param render makes the line for a width in columns; a longer line is cut
 * @returns erases the line and restores the streams
 */
export function showLine(
  streams: { stderr: NodeJS.WriteStream; stdout: NodeJS.WritableStream },
  render: (columns: number) => string,
): () => void {
  const { stderr, stdout } = streams;
  const print = stderr.write.bind(stderr);
  let isShown = false;
  /** The last write did not end its line, so the line cannot be drawn before the next write. */
  let isMidLine = false;

  const erase = () => {
    if (isShown) print(`\r${ERASE_BELOW}`);
    isShown = false;
  };
  const draw = () => {
    if (isMidLine) return;
    // A terminal that does not know its size reports 0. Some wrap in the last column.
    const columns = (stderr.columns || 80) - 1;
    print(`\r${NO_WRAP}${truncate(render(columns), columns)}${ERASE_BELOW}${WRAP}\r`);
    isShown = true;
  };
  const redraw = () => {
    if (isShown) draw();
  };

  const restores = [stderr, ...(isScreen(stdout) ? [stdout] : [])].map((stream) => {
    const { write } = stream;
    stream.write = ((...args: Parameters<typeof write>) => {
      const wasShown = isShown;
      erase();
      const hasRoom = write.apply(stream, args);
      const [chunk] = args as unknown as [string | Uint8Array];
      isMidLine = chunk.length > 0 && chunk.at(-1) !== '\n' && chunk.at(-1) !== 10;
      if (wasShown) draw();
      return hasRoom;
    }) as typeof write;
    return () => {
      stream.write = write;
    };
  });
  const timer = setInterval(draw, REDRAW_EVERY_MS).unref();
  stderr.on('resize', redraw);
  // After a second Ctrl-C or an uncaught error, only this handler runs.
  process.on('exit', erase);

  return () => {
    clearInterval(timer);
    stderr.off('resize', redraw);
    process.off('exit', erase);
    for (const restore of restores) restore();
    erase();
  };
}
