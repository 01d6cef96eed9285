import { formatCount } from '../lib/base/mod.ts';
import type { UpdatedSeries } from '../lib/download/mod.ts';
import type { StoreCounts } from '../lib/store/mod.ts';

export function formatTotals({
  series,
  inserted,
  revised,
  disputed,
  rejected,
}: StoreCounts & { series: number }): string {
  const more = rejected > 0 ? `, ${formatCount(rejected)} rejected (see rejected_klines)` : '';
  return (
    `${formatCount(series)} series up to date: +${formatCount(inserted)} candles, ` +
    `${formatCount(revised)} corrected${disputed > 0 ? `, ${formatCount(disputed)} disputed (see repairs)` : ''}${more}`
  );
}

export function formatSeries({
  symbol,
  interval,
  inserted,
  revised,
  rejected,
}: UpdatedSeries): string {
  const more = `${revised > 0 ? `, ${revised} corrected` : ''}${rejected > 0 ? `, ${rejected} rejected` : ''}`;
  return `${symbol} ${interval}: +${inserted}${more}`;
}
