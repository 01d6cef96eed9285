import type { RawKline } from './binance/rest.ts';
import type { TimeRange } from './intervals.ts';
import { formatTime } from './time.ts';

/** A kline that passed every check, as a line for COPY. */
export interface CheckedKline {
  openMs: number;
  closeMs: number;
  copyLine: string;
}

const DECIMAL = /^-?\d{1,20}(?:\.\d{1,8})?$/;
const POSITIVE = /^(?!-)[^1-9]*[1-9]/;
const WHOLE = /^\d{1,10}$/;
const MAX_INT4 = 2_147_483_647;

/** Spot's bulk files count microseconds from 2025 on; 10^14 ms would be the year 5138. */
const FIRST_MICROSECONDS = 1e14;

/** The columns of staged_klines, in the order of `copyLine`. */
export const COPY_STAGED = `copy staged_klines (
  open_ms, close_ms, open_price, high_price, low_price, close_price,
  volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
) from stdin`;

const PRICES = [
  [1, 'open_price'],
  [2, 'high_price'],
  [3, 'low_price'],
  [4, 'close_price'],
] as const;
const VOLUMES = [
  [5, 'volume'],
  [7, 'quote_volume'],
  [9, 'taker_buy_volume'],
  [10, 'taker_buy_quote_volume'],
] as const;

/**
 * Checks one kline as Binance sent it: 12 fields, open and close time in ms or µs (told apart by
 * size, cut to ms), decimals as strings. What is odd but published (negative volume, close above
 * high, off the grid) passes; what is no candle does not.
 * @param asked the open times that were asked for
 * @returns the candle, or the reason why it is none
 */
export function checkKline(raw: RawKline, asked: TimeRange): CheckedKline | string {
  if (!Array.isArray(raw) || raw.length !== 12) return 'not 12 fields';
  const openMs = readTimeMs(raw[0]);
  if (openMs === undefined) return `open_time is not a time: ${show(raw[0])}`;
  const closeMs = readTimeMs(raw[6]);
  if (closeMs === undefined) return `close_time is not a time: ${show(raw[6])}`;
  if (openMs < asked.fromMs || openMs >= asked.toMs) {
    return `open_time ${formatTime(openMs)} is outside the range asked for`;
  }
  for (const [index, name] of PRICES) {
    const value = String(raw[index]);
    if (!DECIMAL.test(value))
      return `${name} is not a number with at most 8 decimals: ${show(raw[index])}`;
    if (!POSITIVE.test(value)) return `${name} is not above zero: ${show(raw[index])}`;
  }
  for (const [index, name] of VOLUMES) {
    if (!DECIMAL.test(String(raw[index])))
      return `${name} is not a number with at most 8 decimals: ${show(raw[index])}`;
  }
  const trades = String(raw[8]);
  if (!WHOLE.test(trades) || Number(trades) > MAX_INT4)
    return `trades_count is not a count: ${show(raw[8])}`;

  const copyLine =
    `${openMs}\t${closeMs}\t${raw[1]}\t${raw[2]}\t${raw[3]}\t${raw[4]}\t` +
    `${raw[5]}\t${raw[7]}\t${trades}\t${raw[9]}\t${raw[10]}\n`;
  return { openMs, closeMs, copyLine };
}

function readTimeMs(value: unknown): number | undefined {
  const text = String(value);
  if (!/^\d{1,16}$/.test(text)) return undefined;
  const number = Number(text);
  return number >= FIRST_MICROSECONDS ? Math.floor(number / 1000) : number;
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 60);
}
