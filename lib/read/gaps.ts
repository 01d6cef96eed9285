/** What is missing in the stored series, and why. */
import type postgres from 'postgres';
import {
  addSteps,
  ceilToGrid,
  clipRanges,
  countSlots,
  floorToGrid,
  INTERVALS,
  type Instrument,
  type Interval,
  readRange,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import { runSql } from '../postgres/mod.ts';
import { listInstruments, missingRanges } from '../store/mod.ts';
import { readAccess } from './access.ts';
import { createGapClassifier, type SeriesGaps } from './gap-reasons.ts';
import { type Gap, plainGap, type RecordedGap, toGap } from './recorded-gaps.ts';
import { storeStatus } from './status.ts';

export interface GapFilter {
  instruments: readonly Instrument[];
  /** Default: all. */
  interval: Interval | undefined;
  /** Open times, Unix ms. Without `fromMs` nothing before the listing is listed. */
  fromMs: number | undefined;
  toMs: number | undefined;
  /** Also searches the candles for gaps that no run has requested. Reads the whole index. */
  isSearched: boolean;
  nowMs: number;
}

/** A series that is this little behind is up to date: `update` may be running. */
const BEHIND_SLOTS = 2;

/**
 * Lists the gaps of some instruments, by series and time. Reads the recorded gaps and the ends of the
 * series, of all instruments, because an outage shows in other symbols, too.
 */
export async function listGaps(sql: postgres.Sql, filter: GapFilter): Promise<Gap[]> {
  const { instruments, interval, fromMs, toMs, nowMs } = filter;
  const access = await readAccess(sql);
  const markets = new Set(instruments.map(({ market }) => market));
  const all = (await listInstruments(sql)).filter(({ market }) => markets.has(market));
  const [status, recorded] = await Promise.all([
    storeStatus(sql, access, all, nowMs, interval ? [interval] : INTERVALS),
    runSql<RecordedGap>(sql, 'read/recorded_gaps.sql', {
      interval: interval ?? '',
      from_time: fromMs === undefined ? '-infinity' : new Date(fromMs),
      to_time: toMs === undefined ? 'infinity' : new Date(toMs),
    }),
  ]);
  const bySeries = new Map<string, RecordedGap[]>();
  for (const gap of recorded) {
    const key = `${gap.instrument_id} ${gap.interval}`;
    const rows = bySeries.get(key);
    if (rows) rows.push(gap);
    else bySeries.set(key, [gap]);
  }
  const series = status.flatMap(({ instrument, series: stored }) =>
    stored.map((each) => {
      const rows = bySeries.get(`${instrument.id} ${each.interval}`) ?? [];
      const endMs = addSteps(each.interval, floorToGrid(each.interval, each.lastMs), 1);
      const span = { fromMs: each.firstMs, toMs: endMs };
      return { instrument, interval: each.interval, span, rows, gaps: rows.map(readRange) };
    }),
  );
  const classify = createGapClassifier(series);
  const chosen = new Set(instruments.map(({ id }) => id));
  const gaps: Gap[] = [];
  for (const each of series) {
    if (!chosen.has(each.instrument.id)) continue;
    const missing = filter.isSearched ? await search(sql, each, filter) : undefined;
    const isMissing = (gap: TimeRange) => !missing || clipRanges(missing, gap).length > 0;
    const found = [
      ...each.rows
        .filter((row) => isMissing(readRange(row)))
        .map((row) => toGap(each, row, classify)),
      ...subtractRanges(missing ?? [], each.gaps).map((range) =>
        plainGap(each, range, 'not requested yet'),
      ),
      ...findEnds(each, filter),
    ];
    gaps.push(...found.sort((a, b) => a.fromMs - b.fromMs));
  }
  return gaps;
}

/** Every slot without a candle between the first candle and the last. */
async function search(
  sql: postgres.Sql,
  { instrument, interval, span }: SeriesGaps,
  { fromMs = 0, toMs = Number.POSITIVE_INFINITY }: GapFilter,
): Promise<TimeRange[]> {
  const [range] = clipRanges([span], { fromMs, toMs });
  return range ? await missingRanges(sql, { instrument, interval }, range) : [];
}

/** What is missing before the first candle, and after the last. */
function findEnds(series: SeriesGaps, { fromMs, toMs, nowMs }: GapFilter): Gap[] {
  const { instrument, interval, span } = series;
  const { listedAtMs } = instrument;
  const listedMs = listedAtMs === undefined ? undefined : floorToGrid(interval, listedAtMs);
  const startMs = ceilToGrid(interval, fromMs ?? listedMs ?? span.fromMs);
  const untilMs = toMs ?? Number.POSITIVE_INFINITY;
  const wantedMs = Math.max(startMs, listedMs ?? startMs);
  const head = { fromMs: wantedMs, toMs: Math.min(span.fromMs, untilMs) };
  const before = { fromMs: startMs, toMs: Math.min(wantedMs, untilMs) };
  const isActive = instrument.status === 'active';
  const tail = {
    fromMs: Math.max(span.toMs, startMs),
    toMs: isActive ? Math.min(floorToGrid(interval, nowMs), untilMs) : 0,
  };
  return [
    plainGap(series, before, 'before the listing'),
    plainGap(series, head, 'not requested yet'),
    ...(countSlots(interval, tail) > BEHIND_SLOTS
      ? [plainGap(series, tail, 'not requested yet')]
      : []),
  ].filter(({ candles }) => candles > 0);
}
