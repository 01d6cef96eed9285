import { formatCount, formatShort, formatTable, formatTime } from '../lib/base/mod.ts';
import type { Gap } from '../lib/read/mod.ts';
import { formatCounts } from './_text.ts';

/** The columns of csv, and the fields of --json. */
const COLUMNS = {
  market: ({ instrument }) => instrument.market,
  symbol: ({ instrument }) => instrument.symbol,
  interval: ({ interval }) => interval,
  from: ({ fromMs }) => formatTime(fromMs),
  to: ({ toMs }) => formatTime(toMs),
  candles: ({ candles }) => candles,
  reason: ({ reason }) => reason,
  first_requested: ({ firstAskedMs }) => formatTimeOr(firstAskedMs),
  last_requested: ({ lastAskedMs }) => formatTimeOr(lastAskedMs),
  sources: ({ evidence }) =>
    evidence.map(({ source, atMs }) => [source, formatTimeOr(atMs)].join(' ').trim()).join('; '),
  reference: ({ reference = '' }) => reference,
} satisfies Record<string, (gap: Gap) => string | number>;

/** Gaps as CSV with a header line. */
export function formatCsv(gaps: readonly Gap[]): string {
  const readers = Object.values(COLUMNS);
  const lines = gaps.map((gap) => readers.map((read) => read(gap)).join(','));
  return `${[Object.keys(COLUMNS).join(','), ...lines].join('\n')}\n`;
}

export function toJsonGap(gap: Gap) {
  return {
    market: gap.instrument.market,
    symbol: gap.instrument.symbol,
    interval: gap.interval,
    from: formatTime(gap.fromMs),
    to: formatTime(gap.toMs),
    candles: gap.candles,
    reason: gap.reason,
    firstRequested: gap.firstAskedMs === undefined ? null : formatTime(gap.firstAskedMs),
    lastRequested: gap.lastAskedMs === undefined ? null : formatTime(gap.lastAskedMs),
    sources: gap.evidence.map(({ source, atMs }) => ({
      source,
      time: atMs === undefined ? null : formatTime(atMs),
    })),
    reference: gap.reference ?? null,
  };
}

/** @param isSearched whether gaps that no run has requested are listed too */
export function formatGaps(gaps: readonly Gap[], isSearched: boolean): string {
  const rows = gaps.map((gap) => [
    gap.instrument.symbol,
    gap.interval,
    formatShort(gap.fromMs),
    formatShort(gap.toMs),
    gap.candles,
    gap.reason,
    gap.lastAskedMs === undefined ? '' : formatShort(gap.lastAskedMs),
    gap.evidence.map(({ source }) => source).join(', '),
  ]);
  const head = ['symbol', 'int', 'from (UTC)', 'to', 'candles', 'reason', 'requested', 'shown by'];
  const references = [...new Set(gaps.map(({ reference }) => reference))].filter(Boolean);
  return [
    ...(gaps.length > 0 ? [formatTable(head, rows), ''] : []),
    ...(references.length > 0 ? [...references.map((each) => `See ${each}`), ''] : []),
    formatSummary(gaps),
    ...(isSearched
      ? []
      : ['Name symbols to also list gaps inside their series that were not requested yet.']),
  ].join('\n');
}

function formatSummary(gaps: readonly Gap[]): string {
  if (gaps.length === 0) return 'No gaps.';
  const candles = gaps.reduce((sum, gap) => sum + gap.candles, 0);
  const reasons = [...new Set(gaps.map(({ reason }) => reason))];
  const count = (reason: string) => gaps.filter((gap) => gap.reason === reason).length;
  const parts = formatCounts(reasons.map((reason) => [count(reason), reason] as const));
  const noun = gaps.length === 1 ? 'gap' : 'gaps';
  return `${formatCount(gaps.length)} ${noun}, ${formatCount(candles)} candles: ${parts.join(', ')}`;
}

function formatTimeOr(timeMs: number | undefined): string {
  return timeMs === undefined ? '' : formatTime(timeMs);
}
