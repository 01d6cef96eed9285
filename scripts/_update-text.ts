import { formatCount } from '../lib/base/mod.ts';
import type { UpdatedSeries } from '../lib/download/mod.ts';
import type { StoreCounts } from '../lib/store/mod.ts';
import { formatCounts } from './_text.ts';

export function formatTotals(
  { series, inserted, revised, disputed, rejected }: StoreCounts & { series: number },
  stalled: number,
): string {
  const extra = formatCounts([
    [disputed, 'disputed (see repairs)'],
    [rejected, 'rejected (see rejected_klines)'],
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
}: UpdatedSeries): string {
  const extra = formatCounts([
    [revised, 'corrected'],
    [disputed, 'disputed'],
    [rejected, 'rejected'],
  ]);
  return [`${symbol} ${interval}: +${inserted}`, ...extra].join(', ');
}
