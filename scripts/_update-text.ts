import { formatCount } from '../lib/base/mod.ts';
import type { OpenGapCounts, UpdatedSeries } from '../lib/download/mod.ts';
import type { StoreCounts } from '../lib/store/mod.ts';
import { formatCounts, formatOpenGaps } from './_text.ts';

export function formatTotals(
  {
    series,
    inserted,
    revised,
    disputed,
    rejected,
    ...gaps
  }: StoreCounts & OpenGapCounts & { series: number },
  stalled: number,
): string {
  const extra = formatCounts([
    [disputed, 'disputed (see repairs)'],
    [rejected, 'rejected (see rejected_klines)'],
    [gaps.openGaps, formatOpenGaps(gaps)],
  ]);
  const silent = stalled > 0 ? `, ${formatCount(stalled)} stalled` : '';
  return [
    `${formatCount(series - stalled)} series up to date${silent}: +${formatCount(inserted)} candles`,
    `${formatCount(revised)} corrected`,
    ...extra,
  ].join(', ');
}

export function formatSeries({
  symbol,
  interval,
  inserted,
  revised,
  disputed,
  rejected,
  openGaps,
}: UpdatedSeries): string {
  const extra = formatCounts([
    [revised, 'corrected'],
    [disputed, 'disputed'],
    [rejected, 'rejected'],
    [openGaps, 'in open gaps'],
  ]);
  return [`${symbol} ${interval}: +${inserted}`, ...extra].join(', ');
}
