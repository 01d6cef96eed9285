/** One answer of a source: its candles, and how they were stored. */
import type postgres from 'postgres';
import type { TimeRange } from '../market/mod.ts';

/** How the klines of a source were stored. */
export interface StoreCounts {
  inserted: number;
  /** Stored before with other values, and corrected. */
  revised: number;
  /** Stored with other values than this source has, and not changed. */
  disputed: number;
  /** No candles: kept in rejected_klines with the reason, the first 10,000 of a file. */
  rejected: number;
}

export const NOTHING_STORED: Readonly<StoreCounts> = {
  inserted: 0,
  revised: 0,
  disputed: 0,
  rejected: 0,
};

export function addCounts(a: StoreCounts, b: StoreCounts): StoreCounts {
  return {
    inserted: a.inserted + b.inserted,
    revised: a.revised + b.revised,
    disputed: a.disputed + b.disputed,
    rejected: a.rejected + b.rejected,
  };
}

export interface PageCounts extends StoreCounts {
  /** True: certainly holds every candle of the grid that was wanted. */
  isComplete?: boolean;
}

export interface Page {
  /** The open times that were requested; others are rejected. */
  asked: TimeRange;
  /** The ones to store, within `asked`; others are left out. Default: all. */
  wanted?: TimeRange;
  /** Lines of 12 fields, as in Binance's files, without a header. */
  csv: Buffer;
  /**
   * The lines of a file that is too large for the memory, in pieces of whole lines; can be called again.
   * Then `csv` is empty.
   */
  pieces?: (() => AsyncIterable<Buffer>) | undefined;
  /** The exchange's clock before the request: candles that close later are still forming, and left out. */
  askedAtMs: number;
  /** For the logs: 'rest' or the name of a file. */
  source: string;
  /**
   * More work in the same transaction. `slots`: for how many slots of the grid the page has
   * candles. `isStaged`: whether they are in staged_klines, which is so only where candles were
   * stored before.
   */
  alongside?: (tx: postgres.TransactionSql, slots: number, isStaged: boolean) => Promise<void>;
}

/** Requests candles over REST again, by their open times (Unix ms), because sources differ. */
export type RequestAgain = (openTimesMs: readonly number[]) => Promise<Page[]>;
