import { formatCount } from '../lib/base/mod.ts';
import type { OpenGapCounts, UpdatedSeries } from '../lib/download/mod.ts';
import type { StoreCounts } from '../lib/store/mod.ts';
import { formatCounts, formatOpenGaps } from './_text.ts';

export function formatTotals({
  series,
  inserted,
  revised,
  rejected,
  ...gaps
}: StoreCounts & OpenGapCounts & { series: number }): string {
  const parts = formatCounts([
    [rejected, 'rejected (see rejected_klines)'],
    [gaps.openGaps, formatOpenGaps(gaps)],
  ]);
  const more = parts.map((part) => `, ${part}`).join('');
  return (
    `${formatCount(series)} series up to date: +${formatCount(inserted)} candles, ` +
    `${formatCount(revised)} corrected${more}`
  );
}

export function formatSeries({
  symbol,
  interval,
  inserted,
  revised,
  rejected,
  openGaps,
}: UpdatedSeries): string {
  const parts = formatCounts([
    [revised, 'corrected'],
    [rejected, 'rejected'],
    [openGaps, 'in open gaps'],
  ]);
  return [`${symbol} ${interval}: +${inserted}`, ...parts].join(', ');
}
