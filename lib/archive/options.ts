import type { Instrument, Interval } from '../market/mod.ts';
import type { MoveRequest } from './plan.ts';

export interface RunOptions extends MoveRequest {
  /** Candles a batch holds at most. */
  batchRows: number;
  /** One batch at a time, never two, and a pause as long after each. */
  gentle: boolean;
  /** Begin no batch after this long. Default: no end. */
  maxRuntimeMs?: number | undefined;
  /** Of restore: until when archive leaves the range alone, Unix ms. */
  keepUntilMs?: number;
  signal: AbortSignal;
}

/** What happens meanwhile, for who wants to show it. */
export interface RunEvents {
  onBatch?: (
    instrument: Instrument,
    batch: { interval: Interval; rows: number; untilMs: number },
  ) => void;
  onHeld?: (instrument: Instrument) => void;
  onFailed?: (instrument: Instrument, error: unknown) => void;
  /** Stopped before all was moved. */
  onStopped?: (instrument: Instrument, reason: string) => void;
  onWarning?: (message: string) => void;
  /** Worth knowing, not worth a mail from cron. */
  onNote?: (message: string) => void;
}
