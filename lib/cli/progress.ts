import { formatCount, formatDuration } from '../base/mod.ts';
import { isScreen, showLine } from './terminal.ts';

/** Shows how much of a long task is done: a bar on a terminal, sometimes a line in a log. */
export interface Progress {
  /** Starts a task of `total` units, e.g. 43,200 `candles`. */
  start(total: number, unit: string): void;
  /** Adds units to the same task. */
  extend(units: number): void;
  /** @param position what was done last, e.g. `BTC/USDT 1m 2023-03-24`; printed if the run is stopped */
  advance(count: number, position: string): void;
  stop(): void;
  readonly position: string | undefined;
}

const LINE_EVERY_MS = 30_000;
const LINE_EVERY_SHARE = 0.1;
/** A task that takes less than this prints no lines. */
const LINES_APART_MS = 3_000;
const WIDE_TERMINAL = 100;

/**
 * @param write writes a line to the log, every 30 s or 10 % while there is no bar
 * @param streams the bar is drawn on stderr if that is a terminal. Undefined: no bar
 */
export function createProgress(
  write: (line: string) => void,
  streams?: { stderr: NodeJS.WritableStream; stdout: NodeJS.WritableStream },
): Progress {
  let hide: (() => void) | undefined;
  let position: string | undefined;
  let unit = '';
  let total = 0;
  let done = 0;
  let startedMs = 0;
  let lastLine = { atMs: 0, share: 0 };

  const share = () => (total === 0 ? 0 : Math.min(1, done / total));
  const speed = () => {
    const elapsedMs = Math.max(1, performance.now() - startedMs);
    const perSecond = formatCount(Math.round((done * 1000) / elapsedMs));
    const left = done === 0 ? '?' : formatDuration((elapsedMs / done) * Math.max(0, total - done));
    return { rate: `${perSecond}/s`, left: `${left} left` };
  };
  const renderBar = (columns: number) => {
    const width = columns < WIDE_TERMINAL ? 10 : 20;
    const full = Math.round(share() * width);
    const bar = '█'.repeat(full) + '░'.repeat(width - full);
    const { rate, left } = speed();
    const percent = `${Math.floor(share() * 100)} %`;
    return [`${bar} ${percent}`, `${rate} ${unit}`, left, position ?? ''].join(' · ');
  };
  const writeLine = () => {
    const nowMs = performance.now();
    const sinceMs = nowMs - lastLine.atMs;
    const isDue =
      sinceMs >= LINE_EVERY_MS ||
      (sinceMs >= LINES_APART_MS && share() - lastLine.share >= LINE_EVERY_SHARE);
    if (done >= total || !isDue) return;
    lastLine = { atMs: nowMs, share: share() };
    const { rate, left } = speed();
    const part = `${Math.floor(share() * 100)} % · ${formatCount(done)} of ${formatCount(total)} ${unit}`;
    write(`${part} · ${rate} · ${left} · ${position}`);
  };
  const stop = () => {
    hide?.();
    hide = undefined;
  };

  return {
    start(newTotal, newUnit) {
      stop();
      [total, unit, done, startedMs] = [newTotal, newUnit, 0, performance.now()];
      lastLine = { atMs: startedMs, share: 0 };
      if (!streams) return;
      const { stderr, stdout } = streams;
      if (isScreen(stderr)) hide = showLine({ stderr, stdout }, renderBar);
    },
    extend(units) {
      total += units;
    },
    advance(count, newPosition) {
      done += count;
      position = newPosition;
      if (!hide) writeLine();
    },
    stop,
    get position() {
      return position;
    },
  };
}
