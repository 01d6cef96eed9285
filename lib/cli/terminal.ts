import { truncate } from '../base/mod.ts';

const REDRAW_EVERY_MS = 200;
const ERASE_BELOW = '\u001b[J';
/** The window may have become narrower a moment ago, before this process is notified. */
const NO_WRAP = '\u001b[?7l';
const WRAP = '\u001b[?7h';

/** Whether a person may be watching this stream on a terminal that can move its cursor. */
export function isScreen(stream: NodeJS.WritableStream): stream is NodeJS.WriteStream {
  return Boolean((stream as NodeJS.WriteStream).isTTY) && process.env.TERM !== 'dumb';
}

/**
 * Keeps one line below everything that is printed. While it is shown, this function owns the
 * terminal: each write to either stream erases the line, prints, and draws the line again.
 * The cursor stays visible and rests at the start of the line. So nothing has to be restored
 * after a crash, a `^C` cannot wrap the line, and erasing from there to the end of the screen also
 * removes a line that was wrapped when the window became narrower.
 * @param render the line for a width in columns; it is cut where it is longer
 * @returns erases the line and leaves the streams as they were
 */
export function showLine(
  streams: { stderr: NodeJS.WriteStream; stdout: NodeJS.WritableStream },
  render: (columns: number) => string,
): () => void {
  const { stderr, stdout } = streams;
  const print = stderr.write.bind(stderr);
  let isShown = false;
  /** Something was printed that does not end its line: the rest of it comes first. */
  let isMidLine = false;

  const erase = () => {
    if (isShown) print(`\r${ERASE_BELOW}`);
    isShown = false;
  };
  const draw = () => {
    if (isMidLine) return;
    // A terminal that does not know its size reports 0. The last column is where some wrap.
    const columns = (stderr.columns || 80) - 1;
    print(`\r${NO_WRAP}${truncate(render(columns), columns)}${ERASE_BELOW}${WRAP}\r`);
    isShown = true;
  };
  const redraw = () => {
    if (isShown) draw();
  };

  const restores = [stderr, ...(isScreen(stdout) ? [stdout] : [])].map((stream) => {
    const { write } = stream;
    stream.write = ((...words: Parameters<typeof write>) => {
      const wasShown = isShown;
      erase();
      const hasRoom = write.apply(stream, words);
      const [chunk] = words as unknown as [string | Uint8Array];
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
  // After a second Ctrl-C or an uncaught error, nothing else runs.
  process.on('exit', erase);

  return () => {
    clearInterval(timer);
    stderr.off('resize', redraw);
    process.off('exit', erase);
    for (const restore of restores) restore();
    erase();
  };
}
