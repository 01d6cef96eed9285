import { countAllSlots, type TimeRange } from '../market/mod.ts';
import { settledUntilMs } from '../store/mod.ts';
import type { Download } from './pages.ts';

/** What is missing and not proven to be a gap of the exchange, in candles. */
export interface OpenGapCounts {
  openGaps: number;
  /** Those that are old enough for a later run to confirm them. */
  oldOpenGaps: number;
}

export async function countOpenGaps(
  { source, series }: Download,
  gaps: readonly TimeRange[],
): Promise<OpenGapCounts> {
  if (gaps.length === 0) return { openGaps: 0, oldOpenGaps: 0 };
  const { instrument, interval } = series;
  const untilMs = settledUntilMs(interval, await source.serverTimeMs(instrument.market));
  const isOld = ({ toMs }: TimeRange) => toMs <= untilMs;
  return {
    openGaps: countAllSlots(interval, gaps),
    oldOpenGaps: countAllSlots(interval, gaps.filter(isOld)),
  };
}
