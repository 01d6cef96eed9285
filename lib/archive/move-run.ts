import type { Instrument, Series } from '../market/mod.ts';
import type { BatchSizer } from './batch-sizer.ts';
import type { MoveRequest } from './plan.ts';

export interface MoveOptions extends MoveRequest {
  /** How many candles a batch holds at most. */
  batchRows: number;
  /** One batch at a time, never two, and a pause after each for as long as it took. */
  gentle: boolean;
  /** Begin no batch after this long. Default: no limit. */
  maxRuntimeMs?: number | undefined;
  /** For restore: until when archive leaves the range alone, in Unix ms. */
  keepUntilMs?: number;
  signal: AbortSignal;
}

/** What happens during a run, for callers that show it. */
export interface MoveEvents {
  /** A batch was committed. `rows`: how many candles it moved or dropped. */
  onBatch: (series: Series, batch: { rows: number; untilMs: number }) => void;
  /** `info`: worth knowing, but not worth a mail from cron. */
  onMessage: (level: 'error' | 'warn' | 'info', message: string) => void;
}

/** What all steps of one run share. */
export interface MoveRun {
  id: string;
  options: MoveOptions;
  events: MoveEvents;
  /** When to stop beginning batches, by `performance.now()`. */
  deadlineMs: number;
  sizer: BatchSizer;
  /**
   * The batches whose outcome is not known yet, by id. When the connection is lost before COMMIT is
   * answered, the log shows whether the batch was committed.
   */
  unanswered: Map<string, Series>;
  /** The instruments whose work has begun: it begins again when the connection was lost. */
  begun: Set<Instrument>;
}

/**
 * The work on an instrument stops before all is moved, for a reason that is no failure: the next run
 * continues.
 */
export class StoppedEarly extends Error {
  static readonly TIME_IS_UP = 'the time is up';
}
