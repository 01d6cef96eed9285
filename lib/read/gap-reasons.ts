import {
  clipRanges,
  type Instrument,
  type Interval,
  OUTAGES,
  type Outage,
  type TimeRange,
} from '../market/mod.ts';

/** Why candles are missing. */
export type GapReason =
  /** Missing in most stored symbols of the market, or known as an outage. */
  | 'exchange-wide outage'
  /** Missing in this symbol only. */
  | 'trading halt'
  /** One of the two. No other symbol is stored, which would show which one. */
  | 'halt or outage'
  /** The bulk files do not have them, and REST was not asked. */
  | 'not in the files'
  /** Requested, but it is not proven that the exchange does not have them. */
  | 'open'
  | 'not requested yet'
  | 'before the listing';

/** A series: where it begins and ends, and its recorded gaps. */
export interface SeriesGaps {
  instrument: Instrument;
  interval: Interval;
  span: TimeRange;
  gaps: readonly TimeRange[];
}

/** The known outage that a gap lies in, at least for the most part. */
export function knownOutage({ market }: Instrument, gap: TimeRange): Outage | undefined {
  return OUTAGES.find((outage) => {
    const [shared] = outage.market === market ? clipRanges([gap], outage) : [];
    return shared && 2 * (shared.toMs - shared.fromMs) > gap.toMs - gap.fromMs;
  });
}

/**
 * Decides between outage and halt: by how many series of the market and interval that were stored at
 * that time miss candles, too. Many series have the same gap, so each range is looked up once.
 * @param all every series with its recorded gaps
 */
export function createGapClassifier(all: readonly SeriesGaps[]) {
  const known = new Map<string, GapReason>();
  return ({ instrument, interval }: SeriesGaps, gap: TimeRange): GapReason => {
    const key = `${instrument.market} ${interval} ${gap.fromMs} ${gap.toMs}`;
    let reason = known.get(key);
    if (reason === undefined) {
      const stored = all.filter(
        (each) =>
          each.interval === interval &&
          each.instrument.market === instrument.market &&
          each.span.fromMs < gap.fromMs &&
          each.span.toMs > gap.toMs,
      );
      const missing = stored.filter(({ gaps }) => clipRanges(gaps, gap).length > 0);
      if (stored.length < 2) reason = 'halt or outage';
      else reason = 2 * missing.length > stored.length ? 'exchange-wide outage' : 'trading halt';
      known.set(key, reason);
    }
    return reason;
  };
}
