import { formatShort, formatTime } from '../base/mod.ts';
import type { Instrument, Interval, Market, Series, TimeRange } from '../market/mod.ts';
import type { StoredSeries } from '../store/mod.ts';

export type Severity = 'error' | 'warning' | 'info';

/** Worst first. */
export const SEVERITIES = ['error', 'warning', 'info'] as const satisfies Severity[];

/** Every check, and how bad it is when it finds something. */
export const CHECKS = {
  /** No candle in a slot of the grid: our own loss. */
  missing: 'error',
  /** The same candle in klines and in klines_archive. */
  'in-both-tiers': 'error',
  /** Two candles in one slot of the grid. */
  'doubled-slot': 'error',
  'not-closed': 'error',
  'not-a-number': 'error',
  'price-not-positive': 'error',
  'impossible-ohlc': 'error',
  'negative-volume': 'error',
  'taker-above-total': 'error',
  'no-volume': 'error',
  /** Not what the 1m candles of its time add up to. */
  rollup: 'error',
  /** Not what the exchange sends now (--compare). */
  differs: 'error',
  'archive-shape': 'error',
  /** A table that is no part of klines or klines_archive. */
  'not-attached': 'error',
  /** The archive holds something other than what was moved there (--deep). */
  'batch-hash': 'error',
  /** Rows of a bulk file that are gone although the gap counts as the exchange's. */
  'loaded-file': 'error',
  /** Rows under an interval that there is not. */
  'unknown-interval': 'error',
  'off-grid': 'warning',
  'close-time': 'warning',
  /** Behind the last closed candle. */
  stale: 'warning',
  /** Candles in klines older than the newest archived one. */
  'tier-boundary': 'warning',
  /** Far from its neighbours: to be looked at, not a defect. */
  jump: 'info',
  /** No candle, and the exchange has none either. */
  'confirmed-gap': 'info',
  /** A minute in which nothing was traded: a candle, not a gap. */
  flat: 'info',
} as const satisfies Record<string, Severity>;

export type Check = keyof typeof CHECKS;

/** A candle, or a span of open times, that a finding is about. */
export interface FindingRow {
  fromMs: number;
  /** Exclusive. None: one candle. */
  toMs?: number;
  /** In words. */
  detail: string;
  /** What the check looked at, to know it again. */
  rowHash?: string;
}

/** One kind of defect in one series. */
export interface Finding {
  market: Market;
  symbol: string;
  /** `-`: of all the instrument's series. */
  interval: string;
  check: Check;
  severity: Severity;
  /** The exchange was asked again and sent the same: reported as info. */
  isPublished: boolean;
  /** Candles concerned. */
  count: number;
  /** The first of them, not always all. */
  rows: FindingRow[];
}

/** Rows listed with a finding; more are only counted. */
export const MAX_ROWS = 1000;

/** A finding of one check in one series, as bad as the check says unless told otherwise. */
export function findingOf(
  { instrument, interval }: { instrument: Series['instrument']; interval: Interval | '-' },
  check: Check,
  count: number,
  rows: FindingRow[],
  options: { isPublished?: boolean; severity?: Severity } = {},
): Finding {
  const { isPublished = false, severity = isPublished ? 'info' : CHECKS[check] } = options;
  return {
    market: instrument.market,
    symbol: instrument.symbol,
    interval,
    check,
    severity,
    isPublished,
    count,
    rows: rows.slice(0, MAX_ROWS),
  };
}

/** A row in words: its time or span, and what is wrong with it. */
export function describeRow({ fromMs, toMs, detail }: FindingRow): string {
  const from = fromMs % 60_000 === 0 ? formatShort(fromMs) : formatTime(fromMs);
  if (toMs === undefined) return `${from} ${detail}`.trim();
  const to = formatShort(toMs);
  // On the same day the time alone tells it.
  const short = to.slice(0, 10) === from.slice(0, 10) && to.length > 10 ? to.slice(11) : to;
  return `${from} to ${short} ${detail}`.trim();
}

/** Whether a finding is as bad as `limit`, or worse. */
export function isAtLeast(finding: Finding, limit: Severity): boolean {
  return SEVERITIES.indexOf(finding.severity) <= SEVERITIES.indexOf(limit);
}

/** Worst first: by severity, then by how many candles. */
export function byWorst(a: Finding, b: Finding): number {
  return (
    SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) ||
    b.count - a.count ||
    a.check.localeCompare(b.check)
  );
}

/** What there is of one series, and what is wrong with it. */
export interface SeriesReport {
  series: Series;
  /** Candles looked at. */
  candles: number;
  /** Undefined: no candle is left. */
  stored: StoredSeries | undefined;
  findings: Finding[];
  /** Slots that hold no candle and should. */
  missing: TimeRange[];
}

export interface InstrumentReport {
  instrument: Instrument;
  series: SeriesReport[];
  /** Of its tables, not of one series. */
  findings: Finding[];
}
