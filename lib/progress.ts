import cliProgress from 'cli-progress';
import { formatCount } from './table.ts';
import { formatDuration } from './time.ts';

/** How far a long piece of work has come: a bar on a terminal, a line now and then in a log. */
export interface Progress {
  /** Begins a piece of work of `total` units, e.g. 43,200 `candles`. */
  start(total: number, unit: string): void;
  /** More of the same work has come to light. */
  extend(units: number): void;
  /** @param position where it is now, e.g. `BTC/USDT 1m 2023-03-24`; told again if it is stopped */
  advance(count: number, position: string): void;
  stop(): void;
  readonly position: string | undefined;
  /** Makes room for a line of text where the bar is. */
  clearLine(): void;
}

const LINE_EVERY_MS = 30_000;
const LINE_EVERY_SHARE = 0.1;
/** Work that is over in a moment needs no lines. */
const LINES_APART_MS = 3_000;

/**
 * @param write takes a finished line for the log
 * @param terminal where to draw the bar; undefined: lines only, every 30 s or 10 %
 */
export function createProgress(
  write: (line: string) => void,
  terminal?: NodeJS.WritableStream,
): Progress {
  let bar: cliProgress.SingleBar | undefined;
  let position: string | undefined;
  let unit = '';
  let total = 0;
  let done = 0;
  let startedMs = 0;
  let lastLine = { atMs: 0, share: 0 };

  const rest = () => {
    const elapsedMs = performance.now() - startedMs;
    return done === 0 ? '?' : formatDuration((elapsedMs / done) * Math.max(0, total - done));
  };
  const rate = () =>
    `${formatCount(Math.round(done / Math.max(0.001, (performance.now() - startedMs) / 1000)))}/s`;
  const writeLine = () => {
    const share = total === 0 ? 1 : done / total;
    const nowMs = performance.now();
    const sinceMs = nowMs - lastLine.atMs;
    const isDue =
      sinceMs >= LINE_EVERY_MS ||
      (sinceMs >= LINES_APART_MS && share - lastLine.share >= LINE_EVERY_SHARE);
    if (share >= 1 || !isDue) return;
    lastLine = { atMs: nowMs, share };
    const far = `${Math.floor(share * 100)} % · ${formatCount(done)} of ${formatCount(total)} ${unit}`;
    write(`${far} · ${rate()} · ${rest()} left · ${position}`);
  };

  return {
    start(newTotal, newUnit) {
      [total, unit, done, startedMs] = [newTotal, newUnit, 0, performance.now()];
      lastLine = { atMs: startedMs, share: 0 };
      if (!terminal || !('isTTY' in terminal && terminal.isTTY)) return;
      bar = new cliProgress.SingleBar({
        stream: terminal,
        format: '{bar} {percentage} % · {rate} {unit} · {rest} left · {position}',
        hideCursor: true,
        clearOnComplete: true,
        barsize: 20,
        fps: 5,
      });
      bar.start(total, 0, { unit, rate: '?', rest: '?', position: '' });
    },
    extend(units) {
      total += units;
      bar?.setTotal(total);
    },
    advance(count, newPosition) {
      done += count;
      position = newPosition;
      if (bar) bar.update(done, { unit, rate: rate(), rest: rest(), position });
      else writeLine();
    },
    stop() {
      bar?.stop();
      bar = undefined;
    },
    get position() {
      return position;
    },
    clearLine() {
      if (bar) terminal?.write('\r\u001b[2K');
    },
  };
}
