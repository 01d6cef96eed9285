/** The log of every stored candle that changed, and of every candle for which sources differed. */
import type { Instrument, Interval, Market, TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

/** The columns of a candle by name: times as ISO text, decimals as numbers of JSON. */
type CandleValues = Record<string, unknown>;

/** One decision, as the verb repairs shows it. */
export interface LoggedRepair {
  id: string;
  repairedAt: Date;
  market: Market;
  symbol: string;
  interval: Interval;
  tier: 'hot' | 'archive';
  openTime: Date;
  /** What was stored. Null: nothing. */
  was: CandleValues | null;
  /** Where that came from: `rest` or the name of a file. Null: unknown. */
  wasSource: string | null;
  /** What another source had. Null: the candle was deleted. */
  offered: CandleValues | null;
  source: string;
  /** What is stored since. Null: nothing. */
  became: CandleValues | null;
  /** Null: REST had no such candle, or was not asked. */
  decidedBy: 'rest' | null;
  /** The columns in which they differ, with both values. Null: the candle was added or deleted. */
  differing: string | null;
}

/**
 * Reads the latest decisions, newest first.
 * @param filter.instruments empty: all
 * @param filter.range open times
 * @returns the first `limit` of them, and how many there are
 */
export async function listRepairs(
  sql: Sql,
  filter: {
    instruments: readonly Instrument[];
    interval: Interval | undefined;
    range: TimeRange;
    limit: number;
  },
): Promise<{ repairs: LoggedRepair[]; total: number }> {
  const rows = await runSql<LoggedRepair & { total: number }>(sql, 'store/list_repairs.sql', {
    instrument_ids: filter.instruments.map(({ id }) => id).join(','),
    interval: filter.interval ?? '',
    from_time: new Date(filter.range.fromMs),
    to_time: new Date(filter.range.toMs),
    limit: filter.limit,
  });
  return { repairs: rows.map(({ total, ...repair }) => repair), total: rows[0]?.total ?? 0 };
}
