import { formatCount } from '../lib/base/mod.ts';
import type { UpdatedSeries } from '../lib/download/mod.ts';
import type { StoreCounts } from '../lib/store/mod.ts';

export function formatTotals({
  series,
  inserted,
  revised,
  rejected,
}: StoreCounts & { series: number }): string {
  const more = rejected > 0 ? `, ${formatCount(rejected)} rejected (see rejected_klines)` : '';
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
}: UpdatedSeries): string {
  const more = `${revised > 0 ? `, ${revised} corrected` : ''}${rejected > 0 ? `, ${rejected} rejected` : ''}`;
  return `${symbol} ${interval}: +${inserted}${more}`;
}
