import type { Instrument, Interval, Market, Series, TimeRange } from '../market/mod.ts';
import type { StoredSeries } from '../store/mod.ts';

export type Severity = 'error' | 'warning' | 'info';

/** Worst first. */
const SEVERITIES = ['error', 'warning', 'info'] as const satisfies Severity[];

/**
 * Every check, and how severe its findings are. A check of one candle is a row in
 * sql/verify/odd_rows.sql, which looks only at candles that are not `is_sound()`.
 */
export const CHECKS = {
  /** A slot of the grid has no candle, and Binance may have it. */
  missing: 'error',
  /** The same open time is in klines and in klines_archive. */
  'in-both-tiers': 'error',
  /** Two candles lie in one slot of the grid. */
  'doubled-slot': 'error',
  'not-closed': 'error',
  'not-a-number': 'error',
  'price-not-positive': 'error',
  'impossible-ohlc': 'error',
  'negative-volume': 'error',
  'taker-above-total': 'error',
  'no-volume': 'error',
  /** The candle differs from the sum of the candles of a shorter interval. */
  rollup: 'error',
  /** The candle differs from what Binance sends now (--compare). */
  differs: 'error',
  /** REST has sent other values, which the archive does not have yet. */
  outdated: 'error',
  /** The candle differs from a published bulk file (--files). */
  'differs-from-file': 'error',
  /** A published bulk file has a candle where none is stored and none counts as missing (--files). */
  'not-stored': 'error',
  'archive-shape': 'error',
  /** A table is not a partition of klines or klines_archive. */
  'not-attached': 'error',
  /** The archive differs from what was moved there (--deep). */
  'batch-hash': 'error',
  /** Candles of a loaded bulk file are gone, although their gap is confirmed. */
  'loaded-file': 'error',
  /** Candles have an interval that Binance does not have. */
  'unknown-interval': 'error',
  'off-grid': 'warning',
  'close-time': 'warning',
  /** The series ends before the last closed candle. */
  stale: 'warning',
  /** A slot has no candle. Binance sent none, but that is not proven to be a gap yet. */
  'open-gap': 'warning',
  /** Candles in klines are older than the newest archived one. */
  'tier-boundary': 'warning',
  /** Two sources differ, REST has no such candle, and one of them was stored. */
  disputed: 'warning',
  /** A published bulk file does not have the candle (--files). */
  'not-in-file': 'warning',
  /** A published bulk file could not be read, or has no CHECKSUM (--files). */
  'unverifiable-file': 'warning',
  /** A price is far from its neighbours. This needs checking and may be right. */
  jump: 'info',
  /** A slot has no candle, and Binance has none either. */
  'confirmed-gap': 'info',
  /** The candle was stored with other values before. */
  corrected: 'info',
  /** Nothing was traded. This is a candle, not a gap. */
  flat: 'info',
} as const satisfies Record<string, Severity>;

export type Check = keyof typeof CHECKS;

/** Defects of one candle. Its roll-up is wrong, too, but that is the same defect. */
export const CANDLE_DEFECTS = [
  ...(['off-grid', 'doubled-slot', 'in-both-tiers', 'not-a-number', 'price-not-positive'] as const),
  ...(['impossible-ohlc', 'negative-volume', 'taker-above-total', 'no-volume'] as const),
] satisfies Check[];

/** A candle, or a range of open times, that a finding is about. */
export interface FindingRow {
  /** Unix ms. */
  fromMs: number;
  /** Exclusive. Undefined: the row is one candle. */
  toMs?: number;
  /** What is wrong, in words. */
  detail: string;
  /** Identifies the values that the check looked at. Without it the row is never published. */
  rowHash?: string | null;
  /** For rollup: the shorter interval whose candles do not add up to this one. */
  part?: Interval;
}

/** One kind of defect in one series. */
export interface Finding {
  market: Market;
  symbol: string;
  /** `-`: the finding is about the instrument's tables, not one series. */
  interval: Interval | '-';
  check: Check;
  severity: Severity;
  /** The exchange was asked again and sent the same values: reported as info. */
  isPublished: boolean;
  /** How many candles the finding is about. */
  count: number;
  /** The first of them, not always all. */
  rows: FindingRow[];
}

/** What was found in one series. */
export interface SeriesReport {
  series: Series;
  /** How many candles were checked. */
  candles: number;
  /** Undefined: the series has no candles any more. */
  stored: StoredSeries | undefined;
  findings: Finding[];
  /** Slots that should have a candle and have none, oldest first. */
  missing: TimeRange[];
}

/** What was found in one instrument. */
export interface InstrumentReport {
  instrument: Instrument;
  series: SeriesReport[];
  /** Findings about its tables. */
  findings: Finding[];
}

/** Rows that are listed with a finding. The others are only counted. */
export const MAX_ROWS = 1000;

/**
 * @param options.count candles that the finding is about; default: one per row
 * @param options.severity default: the check's own
 * @returns one finding, or none if there are no rows
 */
export function findingsFrom(
  { instrument, interval }: { instrument: Instrument; interval: Interval | '-' },
  check: Check,
  rows: readonly FindingRow[],
  options: { count?: number; isPublished?: boolean; severity?: Severity } = {},
): Finding[] {
  if (rows.length === 0) return [];
  const { count = rows.length, isPublished = false } = options;
  const { severity = isPublished ? 'info' : CHECKS[check] } = options;
  return [
    {
      market: instrument.market,
      symbol: instrument.symbol,
      interval,
      check,
      severity,
      isPublished,
      count,
      rows: rows.slice(0, MAX_ROWS),
    },
  ];
}

/** Makes one finding of those of the same kind in one series. */
export function joinFindings(findings: readonly Finding[]): Finding[] {
  const joined: Finding[] = [];
  for (const finding of findings) {
    const same = joined.find(
      ({ check, isPublished }) => check === finding.check && isPublished === finding.isPublished,
    );
    if (!same) {
      joined.push({ ...finding, rows: [...finding.rows] });
      continue;
    }
    same.count += finding.count;
    same.rows.push(...finding.rows.slice(0, MAX_ROWS - same.rows.length));
  }
  return joined;
}

/** Whether a finding is as severe as `limit`, or more. */
export function isAtLeast(finding: Finding, limit: Severity): boolean {
  return SEVERITIES.indexOf(finding.severity) <= SEVERITIES.indexOf(limit);
}

/** For sorting, worst first: by severity, then by the number of candles. */
export function byWorst(a: Finding, b: Finding): number {
  return (
    SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) ||
    b.count - a.count ||
    a.check.localeCompare(b.check)
  );
}
