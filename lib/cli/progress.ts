import { formatCount, formatDuration } from '../base/mod.ts';
import { isScreen, showLine } from './terminal.ts';

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
}

const LINE_EVERY_MS = 30_000;
const LINE_EVERY_SHARE = 0.1;
/** Work that is over in a moment needs no lines. */
const LINES_APART_MS = 3_000;
const WIDE_TERMINAL = 100;

/**
 * @param write takes a finished line for the log
 * @param streams the bar is drawn on stderr if that is a terminal; otherwise, or if undefined:
 * lines only, every 30 s or 10 %
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
  const showBar = (columns: number) => {
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
    const far = `${Math.floor(share() * 100)} % · ${formatCount(done)} of ${formatCount(total)} ${unit}`;
    write(`${far} · ${rate} · ${left} · ${position}`);
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
      if (isScreen(stderr)) hide = showLine({ stderr, stdout }, showBar);
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
