/** Holes that Binance has too, proven and not requested again. */
import { DAY_MS } from '../base/mod.ts';
import {
  floorToGrid,
  type Interval,
  rangeValues,
  readRange,
  type Series,
  type TimeRange,
} from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

/** Candles younger than this may still be published. */
const GAP_SETTLES_MS = DAY_MS;

/** What proves a gap. */
export interface GapProof {
  /** A REST answer has just shown the gap. Earlier ones are in open_gaps. */
  isShownNow: boolean;
  /** The name of a loaded file that shows it. */
  file?: string | undefined;
  /** The name of a known outage. */
  outage?: string | undefined;
}

/** A confirmed gap, and the series it belongs to. */
export interface ListedGap extends TimeRange {
  instrumentId: number;
  interval: Interval;
}

/** The open time before which a missing candle is a gap for good, on the grid, Unix ms. */
export function settledUntilMs(interval: Interval, nowMs: number): number {
  return floorToGrid(interval, nowMs - GAP_SETTLES_MS);
}

/** The confirmed gaps of a series, oldest first. */
export async function confirmedGaps(
  sql: Sql,
  { instrument, interval }: Series,
): Promise<TimeRange[]> {
  const rows = await sql`
    select from_time, to_time
    from confirmed_gaps
    where instrument_id = ${instrument.id} and interval = ${interval}
    order by from_time`;
  return rows.map(readRange);
}

/** The confirmed gaps of some instruments that were not requested for the longest time. */
export async function longestUnaskedGaps(
  sql: Sql,
  instrumentIds: readonly number[],
  {
    interval,
    fromMs,
    toMs,
  }: { interval?: Interval | undefined; fromMs?: number | undefined; toMs?: number | undefined },
  limit: number,
): Promise<ListedGap[]> {
  if (instrumentIds.length === 0) return [];
  const rows = await sql`
    select instrument_id, interval, from_time, to_time
    from confirmed_gaps
    where instrument_id in ${sql([...instrumentIds])}
      and ${interval ? sql`interval = ${interval}` : sql`true`}
      and ${fromMs === undefined ? sql`true` : sql`to_time > ${new Date(fromMs)}`}
      and ${toMs === undefined ? sql`true` : sql`from_time < ${new Date(toMs)}`}
    order by asked_at, instrument_id, interval, from_time
    limit ${limit}`;
  return rows.map((row) => ({
    instrumentId: row.instrument_id,
    interval: row.interval,
    ...readRange(row),
  }));
}

/** Confirms a gap. `proveGaps` (download/gap-proof.ts) decides whether it is proven. */
export async function confirmGap(
  sql: Sql,
  series: Series,
  gap: TimeRange,
  { isShownNow, file = '', outage = '' }: GapProof,
): Promise<void> {
  await runSql(sql, 'store/confirm_gap.sql', {
    ...rangeValues(series, gap),
    is_shown_now: String(isShownNow),
    file,
    outage,
  });
}

/**
 * Records that a confirmed gap was requested again.
 * @param isShown whether the answer showed it again; another answer proves nothing
 */
export async function recordRecheck(
  sql: Sql,
  { instrument, interval }: Series,
  gap: TimeRange,
  isShown: boolean,
): Promise<void> {
  await sql`
    update confirmed_gaps
    set
      asked_at = now(),
      shown_at = case when ${isShown} then coalesce(shown_at, now()) else shown_at end,
      shown_again_at = case
        when ${isShown} and shown_at <= now() - interval '5 minutes' then now()
        else shown_again_at
      end
    where instrument_id = ${instrument.id}
      and interval = ${interval}
      and from_time = ${new Date(gap.fromMs)}`;
}

/**
 * Deletes the confirmed gaps in a range, so that they are requested again.
 * @param options.onlyFromFiles only those that nothing but a file shows
 */
export async function forgetGaps(
  sql: Sql,
  { instrument, interval }: Series,
  range: TimeRange,
  { onlyFromFiles = false }: { onlyFromFiles?: boolean } = {},
): Promise<void> {
  await sql`
    delete from confirmed_gaps
    where instrument_id = ${instrument.id}
      and interval = ${interval}
      and from_time < ${new Date(range.toMs)}
      and to_time > ${new Date(range.fromMs)}
      and ${onlyFromFiles ? sql`file is not null and shown_at is null` : sql`true`}`;
}
