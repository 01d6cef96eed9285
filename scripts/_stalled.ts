/** Series for which Binance sends no new candles, although some should have closed. */
import { formatCount, formatSpan } from '../lib/base/mod.ts';
import type { UpdatedSeries } from '../lib/download/mod.ts';

export type StalledSeries = Pick<UpdatedSeries, 'symbol' | 'interval'> & {
  /** For how long. */
  seconds: number;
};

/** How many series a message names. */
const NAMED = 3;

/** The stalled series, longest first. */
export function findStalled(series: readonly UpdatedSeries[]): StalledSeries[] {
  return series
    .filter(({ stalledSeconds }) => stalledSeconds > 0)
    .map(({ symbol, interval, stalledSeconds }) => ({ symbol, interval, seconds: stalledSeconds }))
    .sort((a, b) => b.seconds - a.seconds);
}

/** Whether no series has new candles. Those that had none to expect do not count. */
export function isAllSilent(series: readonly UpdatedSeries[]): boolean {
  return series.every(({ stalledSeconds, inserted }) => stalledSeconds > 0 || inserted === 0);
}

/** Names the first stalled series on one line. */
export function formatStalled(
  stalled: readonly StalledSeries[],
  series: readonly UpdatedSeries[],
): string {
  const total = formatCount(series.length);
  const which =
    stalled.length > 1 && isAllSilent(series)
      ? `any of the ${formatCount(stalled.length)} series whose candles should have closed`
      : `${formatCount(stalled.length)} of ${total} series`;
  const names = stalled
    .slice(0, NAMED)
    .map((each) => `${each.symbol} ${each.interval} (${formatSpan(each.seconds * 1000)})`);
  const others = stalled.length - names.length;
  const more = others > 0 ? ` and ${formatCount(others)} others` : '';
  return `Binance sends no new candles for ${which}: ${names.join(', ')}${more}`;
}
