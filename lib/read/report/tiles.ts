import { formatBytes, formatCount, formatRough } from '../../base/mod.ts';
import type { DayState } from './coverage.ts';
import type { ReportSeries } from './data.ts';
import { escapeHtml } from './html.ts';

/** Formats the summary at the top of the page. */
export function formatTiles(series: readonly ReportSeries[]): string {
  const sum = (read: (each: ReportSeries) => number) =>
    series.reduce((all, each) => all + read(each), 0);
  const sumRows = (tier: 'hot' | 'archive') =>
    sum(({ status }) => status.series.reduce((all, each) => all + each.rows[tier], 0));
  const bytes = {
    hot: sum(({ status }) => status.bytes.hot),
    archive: sum(({ status }) => status.bytes.archive),
  };
  const rows = { hot: sumRows('hot'), archive: sumRows('archive') };
  const days = (states: DayState[]) =>
    sum((each) => states.reduce((all, state) => all + each.coverage.counts[state], 0));
  const missing = days(['m', 'x']);
  const expected = days(['c', 'a', 'o', 'm', 'x']);
  const share = expected === 0 ? '–' : `${floorPercent(expected - missing, expected)} %`;
  return [
    formatTile(
      'Candles stored',
      `~${formatRough(rows.hot + rows.archive)}`,
      `~${formatRough(rows.hot)} in the main tables, ~${formatRough(rows.archive)} archived`,
      formatTierBar(rows),
    ),
    formatTile(
      'On disk',
      formatBytes(bytes.hot + bytes.archive),
      `${formatBytes(bytes.hot)} in the main tables, ${formatBytes(bytes.archive)} archived`,
      formatTierBar(bytes),
    ),
    formatTile(
      'Complete days',
      share,
      `${formatCount(missing)} of ${formatCount(expected)} days have missing candles`,
    ),
    formatTile(
      'Outage days',
      formatCount(days(['o'])),
      'the exchange does not have the missing candles',
    ),
  ].join('\n');
}

/** Rounds down: 99.99 % is not 100 %. */
function floorPercent(part: number, whole: number): string {
  return String(Math.floor((part / whole) * 1000) / 10);
}

function formatTile(name: string, value: string, more: string, bar = ''): string {
  return `<div class="tile"><div class="name">${escapeHtml(name)}</div><div class="value">${escapeHtml(value)}</div>${bar}<div class="more">${escapeHtml(more)}</div></div>`;
}

function formatTierBar({ hot, archive }: { hot: number; archive: number }): string {
  if (hot + archive === 0) return '';
  return `<div class="tiers" aria-hidden="true"><span class="archive" style="flex-grow:${Math.round(archive)}"></span><span class="hot" style="flex-grow:${Math.round(hot)}"></span></div>`;
}
