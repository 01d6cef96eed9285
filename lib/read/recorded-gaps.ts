/** One gap as it is listed, and as the runs have recorded it. */
import {
  countSlots,
  type Instrument,
  type Interval,
  readRange,
  type TimeRange,
} from '../market/mod.ts';
import {
  type createGapClassifier,
  type GapReason,
  knownOutage,
  type SeriesGaps,
} from './gap-reasons.ts';

/** Something that proves a gap. `atMs`: when it did; undefined for a known outage. */
export interface Evidence {
  /** `rest`, the name of a file, or the name of an outage. */
  source: string;
  atMs: number | undefined;
}

/** A span of missing candles. Times are Unix ms. */
export interface Gap extends TimeRange {
  instrument: Instrument;
  interval: Interval;
  candles: number;
  reason: GapReason;
  evidence: Evidence[];
  /** Undefined: not recorded, or never requested. */
  firstAskedMs: number | undefined;
  lastAskedMs: number | undefined;
  /** Where a known outage can be looked up. */
  reference: string | undefined;
}

export interface RecordedGap {
  instrument_id: number;
  interval: Interval;
  from_time: Date;
  to_time: Date;
  is_confirmed: boolean;
  first_asked_at: Date | null;
  asked_at: Date;
  shown_at: Date | null;
  shown_again_at: Date | null;
  file: string | null;
  loaded_at: Date | null;
  outage: string | null;
}

/** A gap that no run has recorded. */
export function plainGap(
  { instrument, interval }: SeriesGaps,
  range: TimeRange,
  reason: GapReason,
): Gap {
  return {
    ...{ instrument, interval, ...range, reason, evidence: [] },
    candles: countSlots(interval, range),
    firstAskedMs: undefined,
    lastAskedMs: undefined,
    reference: undefined,
  };
}

/** A gap that runs have recorded, with what they found out. */
export function toGap(
  series: SeriesGaps,
  row: RecordedGap,
  classify: ReturnType<typeof createGapClassifier>,
): Gap {
  const range = readRange(row);
  const outage = knownOutage(series.instrument, range);
  const timeOf = (time: Date | null) => time?.getTime();
  const evidence: (Evidence | undefined)[] = [
    row.shown_at ? { source: 'rest', atMs: timeOf(row.shown_at) } : undefined,
    row.shown_again_at ? { source: 'rest', atMs: timeOf(row.shown_again_at) } : undefined,
    row.file === null ? undefined : { source: row.file, atMs: timeOf(row.loaded_at) },
    row.outage === null ? undefined : { source: row.outage, atMs: undefined },
  ];
  return {
    ...plainGap(series, range, chooseReason()),
    evidence: evidence.filter((each) => each !== undefined),
    firstAskedMs: timeOf(row.first_asked_at) ?? timeOf(row.shown_at),
    lastAskedMs: timeOf(row.asked_at),
    reference: outage?.reference,
  };

  function chooseReason(): GapReason {
    if (!row.is_confirmed) return 'open';
    if (outage) return 'exchange-wide outage';
    if (row.file !== null && row.shown_at === null) return 'not in the files';
    return classify(series, range);
  }
}
