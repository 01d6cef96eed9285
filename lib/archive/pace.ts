/** What one batch may take: less costs speed, more makes others wait. */
const SHORTEST_MS = 50;
const LONGEST_MS = 200;
const FEWEST_ROWS = 100;

export interface Pace {
  /** Candles that the next batch may hold. */
  readonly rows: number;
  /**
   * Told how a batch went.
   * @param tookMs from BEGIN to the end of COMMIT
   * @param othersWaited sessions had to wait for this one
   * @returns ms to pause before the next one
   */
  after(tookMs: number, othersWaited: boolean): number;
}

/**
 * Sizes batches by the time that they take, between 50 and 200 ms each.
 * @param options.maxRows the size of the first batch, which none exceeds
 * @param options.gentle pause as long as each batch took
 */
export function createPace({ maxRows, gentle }: { maxRows: number; gentle: boolean }): Pace {
  const fewest = Math.min(FEWEST_ROWS, maxRows);
  let rows = maxRows;
  return {
    get rows() {
      return rows;
    },
    after(tookMs, othersWaited) {
      if (tookMs > LONGEST_MS || othersWaited) {
        // One slow batch may be a checkpoint: no more than half of it at once.
        rows = Math.max(fewest, Math.floor(rows / 2));
      } else if (tookMs < SHORTEST_MS) {
        rows = Math.min(maxRows, rows * 2);
      }
      return gentle || othersWaited ? tookMs : 0;
    },
  };
}
