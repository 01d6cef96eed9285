import type postgres from 'postgres';
import { KlinekeepError, parseInstant } from '../base/mod.ts';
import {
  addSteps,
  countSlots,
  floorToGrid,
  type Instrument,
  type Interval,
  parseSymbol,
  rangeValues,
  stepForSql,
} from '../market/mod.ts';
import { streamSql } from '../postgres/mod.ts';
import { findInstruments } from '../store/mod.ts';
import { planCandles } from './candle-plan.ts';
import type { CandlePlan } from './latest-candles.ts';

/** One candle. Prices and volumes are exact decimals. */
export interface Candle {
  /** Unix ms. */
  openMs: number;
  /** When its last part closed, Unix ms. */
  closeMs: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
  quoteVolume: string;
  trades: number;
  takerBuyVolume: string;
  takerBuyQuoteVolume: string;
  /** Number of stored candles that it was made from. */
  parts: number;
  /** Number of stored candles in a complete one. */
  wantedParts: number;
}

/** Which candles: open times as Unix ms, or as text such as `2024-01-01`, `400d` or `now`. */
export interface CandleQuery {
  from?: string | number | undefined;
  /** Exclusive. */
  to?: string | number | undefined;
  /** Maximum number of candles: the first ones with `from`, otherwise the latest. */
  limit?: number | undefined;
}

interface CandleRow {
  open_time: Date;
  close_time: Date;
  open_price: string;
  high_price: string;
  low_price: string;
  close_price: string;
  volume: string;
  quote_volume: string;
  trades_count: number;
  taker_buy_volume: string;
  taker_buy_quote_volume: string;
  parts: number;
}

/**
 * Reads a symbol's closed candles of any interval from both tiers, oldest first: as stored, or rolled up
 * from a shorter interval. Uses constant memory.
 * @param symbol `BTC/USDT`, `BTC/USDT:USDT` (perpetual), or Binance's `BTCUSDT` (spot)
 * @throws KlinekeepError (64) when the symbol or a time cannot be parsed, (65) when the symbol is not
 * registered or no stored interval adds up to the requested one.
 */
export async function* candles(
  sql: postgres.Sql,
  symbol: string,
  interval: Interval,
  { from, to, limit }: CandleQuery = {},
): AsyncGenerator<Candle> {
  const nowMs = Date.now();
  const name = parseSymbol(symbol, undefined);
  if ('wanted' in name) throw unparsable(symbol, name.wanted);
  const [instrument] = await findInstruments(sql, [name]);
  const range = { fromMs: readTime(from, nowMs), toMs: readTime(to, nowMs), limit };
  const plan = await planCandles(sql, instrument as Instrument, interval, range, nowMs);
  yield* readCandles(sql, plan, limit);
}

/** Reads the candles of a plan, oldest first, at most `limit`. */
export async function* readCandles(
  sql: postgres.Sql,
  { instrument, interval, sources }: CandlePlan,
  limit = Number.POSITIVE_INFINITY,
): AsyncGenerator<Candle> {
  let left = limit;
  for (const source of sources) {
    const series = { instrument, interval: source.interval };
    const values = { ...rangeValues(series, source), step: stepForSql(interval) };
    const file = source.interval === interval ? 'read/candles.sql' : 'read/roll_up.sql';
    for await (const rows of streamSql<CandleRow>(sql, file, values, Math.min(left, 1000))) {
      for (const row of rows) {
        yield toCandle(row, countParts(interval, source.interval, row.open_time));
        if (--left <= 0) return;
      }
    }
  }
}

/** How many candles of `part` make the complete one of `whole` that a time lies in. */
function countParts(whole: Interval, part: Interval, time: Date): number {
  if (part === whole) return 1;
  const fromMs = floorToGrid(whole, time.getTime());
  return countSlots(part, { fromMs, toMs: addSteps(whole, fromMs, 1) });
}

function toCandle(row: CandleRow, wantedParts: number): Candle {
  return {
    openMs: row.open_time.getTime(),
    closeMs: row.close_time.getTime(),
    open: row.open_price,
    high: row.high_price,
    low: row.low_price,
    close: row.close_price,
    volume: row.volume,
    quoteVolume: row.quote_volume,
    trades: row.trades_count,
    takerBuyVolume: row.taker_buy_volume,
    takerBuyQuoteVolume: row.taker_buy_quote_volume,
    parts: row.parts,
    wantedParts,
  };
}

function readTime(time: string | number | undefined, nowMs: number): number | undefined {
  if (typeof time !== 'string') return time;
  const timeMs = parseInstant(time, nowMs);
  if (timeMs === undefined) throw unparsable(time, 'a time such as 2024-01-01, 400d or now');
  return timeMs;
}

function unparsable(found: string, wanted: string): KlinekeepError {
  return new KlinekeepError('usage', `Cannot parse ${JSON.stringify(found)}: expected ${wanted}.`);
}
