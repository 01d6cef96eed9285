import type postgres from 'postgres';
import { KlinekeepError, parseInstant } from '../base/mod.ts';
import {
  addSteps,
  countSlots,
  floorToGrid,
  type Instrument,
  type Interval,
  parseSymbol,
  stepForSql,
} from '../market/mod.ts';
import { streamSql } from '../postgres/mod.ts';
import { findInstruments } from '../store/mod.ts';
import { type CandlePlan, type CandleRange, planCandles } from './candle-plan.ts';

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
  /** Stored candles that it is made of. */
  parts: number;
  /** How many it would be made of if none were missing. */
  wantedParts: number;
}

/** Which candles: open times as Unix ms, or as text such as `2024-01-01`, `400d` or `now`. */
export interface CandleQuery {
  from?: string | number | undefined;
  /** Exclusive. */
  to?: string | number | undefined;
  /** At most so many: the first ones with `from`, else the latest. */
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
 * The candles of a symbol in any interval, hot and archived alike, oldest first: as stored, or
 * rolled up from a shorter interval. Closed ones only; memory stays the same however many there are.
 * @param symbol `BTC/USDT`, `BTC/USDT:USDT` (perpetual), or Binance's `BTCUSDT` (spot)
 * @throws KlinekeepError (64) when symbol or time are no such thing, (65) when the symbol is not
 * registered or nothing is stored that adds up to the interval.
 */
export async function* candles(
  sql: postgres.Sql,
  symbol: string,
  interval: Interval,
  { from, to, limit }: CandleQuery = {},
): AsyncGenerator<Candle> {
  const nowMs = Date.now();
  const name = parseSymbol(symbol, undefined);
  if ('wanted' in name) throw unreadable(symbol, name.wanted);
  const [instrument] = await findInstruments(sql, [name]);
  const range: CandleRange = { fromMs: readTime(from, nowMs), toMs: readTime(to, nowMs), limit };
  yield* readCandles(
    sql,
    await planCandles(sql, instrument as Instrument, interval, range, nowMs),
    limit,
  );
}

/** The candles of a plan, oldest first, at most `limit`. */
export async function* readCandles(
  sql: postgres.Sql,
  { instrument, interval, sources }: CandlePlan,
  limit = Number.POSITIVE_INFINITY,
): AsyncGenerator<Candle> {
  let count = 0;
  for (const source of sources) {
    const isStored = source.interval === interval;
    const batches = streamSql<CandleRow>(
      sql,
      isStored ? 'read/candles.sql' : 'read/roll_up.sql',
      {
        instrument_id: instrument.id,
        interval: source.interval,
        from_time: new Date(source.fromMs),
        to_time: new Date(source.toMs),
        step: stepForSql(interval),
      },
      Math.min(limit, 1000),
    );
    for await (const rows of batches) {
      for (const row of rows) {
        yield toCandle(row, isStored ? 1 : partsOf(interval, source.interval, row.open_time));
        count += 1;
        if (count >= limit) return;
      }
    }
  }
}

function partsOf(interval: Interval, part: Interval, openTime: Date): number {
  const fromMs = floorToGrid(interval, openTime.getTime());
  return countSlots(part, { fromMs, toMs: addSteps(interval, fromMs, 1) });
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
  if (timeMs === undefined) throw unreadable(time, 'a time such as 2024-01-01, 400d or now');
  return timeMs;
}

function unreadable(found: string, wanted: string): KlinekeepError {
  return new KlinekeepError('usage', `${JSON.stringify(found)} is given; wanted ${wanted}.`);
}
