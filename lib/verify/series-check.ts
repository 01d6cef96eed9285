import type { Series, TimeRange } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import type { StoredSeries } from '../store/mod.ts';
import type { DayCounts } from './days.ts';

/** What the checks of one series work with. */
export interface SeriesCheck {
  /** A transaction on one snapshot. */
  sql: Sql;
  series: Series;
  /** Undefined: the series has no candles any more. */
  stored: StoredSeries | undefined;
  /** Open times to check. */
  bounds: TimeRange;
  /** The days with candles, oldest first. */
  days: readonly DayCounts[];
  /** By the clock that decides which candles have closed, Unix ms. */
  nowMs: number;
  delistedAtMs: number | undefined;
  /** The verb that is adding candles right now: what is missing may be about to be stored. */
  busyWith: string | undefined;
}
