/** Holes that are not proven to exist at Binance too: they are requested again. */
import {
  rangesToJson,
  readRange,
  type Series,
  seriesValues,
  type TimeRange,
} from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

/** A gap that is not confirmed yet. */
export interface OpenGap extends TimeRange {
  /** It was requested so recently that it need not be requested now. */
  isResting: boolean;
}

/** What is known of an open gap. */
export interface GapState extends TimeRange {
  /** A REST answer had the candles on both sides, and none between them. */
  isShown: boolean;
  /** That was long enough ago for another such answer to count. */
  mayBeShownAgain: boolean;
}

/**
 * The open gaps of a series, oldest first. A gap rests for as long as it has been requested
 * already, up to an hour. So with an update every minute it is requested after 1, 2, 4, 8 …
 * minutes, less a tenth, because updates are not punctual to the second. A gap that was requested
 * in the future, by a clock that was wrong then, does not rest.
 */
export async function openGaps(sql: Sql, { instrument, interval }: Series): Promise<OpenGap[]> {
  const rows = await sql`
    select
      from_time, to_time,
      now() between asked_at and asked_at + 0.9 * least(asked_at - first_asked_at, interval '1 hour')
        as is_resting
    from open_gaps
    where instrument_id = ${instrument.id} and interval = ${interval}
    order by from_time`;
  return rows.map((row) => ({ ...readRange(row), isResting: row.is_resting }));
}

/**
 * Records that these gaps were requested now.
 * @param examined ranges in which there are no other gaps: open ones are deleted, they were filled
 * @returns what is known of each gap, in no order
 */
export async function recordOpenGaps(
  sql: Sql,
  series: Series,
  gaps: readonly TimeRange[],
  examined: readonly TimeRange[] = [],
): Promise<GapState[]> {
  const rows = await runSql<{
    from_time: Date;
    to_time: Date;
    is_shown: boolean;
    may_be_shown_again: boolean;
  }>(sql, 'store/record_open_gaps.sql', {
    ...seriesValues(series),
    gaps: rangesToJson(gaps),
    examined: rangesToJson(examined),
  });
  return rows.map((row) => ({
    ...readRange(row),
    isShown: row.is_shown,
    mayBeShownAgain: row.may_be_shown_again,
  }));
}

/** Records that a REST answer has shown an open gap for the first time. */
export async function recordShown(
  sql: Sql,
  { instrument, interval }: Series,
  gap: TimeRange,
): Promise<void> {
  await sql`
    update open_gaps
    set shown_at = now()
    where instrument_id = ${instrument.id}
      and interval = ${interval}
      and from_time = ${new Date(gap.fromMs)}
      and shown_at is null`;
}
