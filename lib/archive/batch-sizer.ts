/** How long one batch may take. Shorter batches cost speed, longer ones make others wait. */
const SHORTEST_MS = 50;
const LONGEST_MS = 200;
const FEWEST_ROWS = 100;

/** Sizes batches by the time that they take: between 50 and 200 ms each. */
export class BatchSizer {
  readonly #maxRows: number;
  readonly #isGentle: boolean;
  #rows: number;

  /**
   * @param options.maxRows the size of the first batch; none is larger
   * @param options.gentle pause after each batch for as long as it took
   */
  constructor({ maxRows, gentle }: { maxRows: number; gentle: boolean }) {
    this.#maxRows = maxRows;
    this.#isGentle = gentle;
    this.#rows = maxRows;
  }

  /** How many candles the next batch may hold. */
  get rows(): number {
    return this.#rows;
  }

  /**
   * Adapts the size to how a batch went.
   * @param tookMs from BEGIN to the end of COMMIT
   * @param othersWaited whether sessions had to wait for this batch
   * @returns how many ms to pause before the next batch
   */
  recordBatch(tookMs: number, othersWaited: boolean): number {
    if (tookMs > LONGEST_MS || othersWaited) {
      // A single slow batch may be due to a checkpoint, so the size is halved and no more.
      const fewest = Math.min(FEWEST_ROWS, this.#maxRows);
      this.#rows = Math.max(fewest, Math.floor(this.#rows / 2));
    } else if (tookMs < SHORTEST_MS) {
      this.#rows = Math.min(this.#maxRows, this.#rows * 2);
    }
    return this.#isGentle || othersWaited ? tookMs : 0;
  }
}
