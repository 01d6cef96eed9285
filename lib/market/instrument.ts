import type { Interval } from './intervals.ts';
import type { TimeRange } from './ranges.ts';
import type { Market } from './symbols.ts';

/** A symbol that is registered, and the table that holds its candles. */
export interface Instrument {
  id: number;
  market: Market;
  /** Unified: `BTC/USDT`, `BTC/USDT:USDT`. */
  symbol: string;
  /** Binance's own: `BTCUSDT`. */
  exchangeSymbol: string;
  status: 'active' | 'delisted';
  /** The table of its candles, created with the first one. */
  tableName: string;
  /** Open time of its first 1m candle, Unix ms; undefined until it was looked up. */
  listedAtMs: number | undefined;
  /** At its last update the exchange did not know it, or sent nothing new. */
  needsCheck: boolean;
}

/** The candles of one instrument in one interval. */
export interface Series {
  instrument: Instrument;
  interval: Interval;
}

/** A series as variables of an SQL file. */
export function seriesValues({ instrument, interval }: Series) {
  return { instrument_id: instrument.id, interval };
}

/** A range of a series' open times as variables of an SQL file. */
export function rangeValues(series: Series, range: TimeRange) {
  return {
    ...seriesValues(series),
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
  };
}

/** Ranges as rows of from_time and to_time, for json_to_recordset. */
export function rangesToJson(ranges: readonly TimeRange[]): string {
  return JSON.stringify(
    ranges.map(({ fromMs, toMs }) => ({
      from_time: new Date(fromMs).toISOString(),
      to_time: new Date(toMs).toISOString(),
    })),
  );
}

/** The range in a row with from_time and to_time. */
export function readRange(row: { from_time?: Date; to_time?: Date }): TimeRange {
  return { fromMs: row.from_time!.getTime(), toMs: row.to_time!.getTime() };
}
